"""What a Redis URL says: one server, servers behind Sentinel, or a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlencode

from emostream.domain.address import AddressError, parse_address
from emostream.domain.redact import shown_address
from emostream.errors import ConfigError
from emostream.publish.multi_host_url import parse_multi_host_url

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
"""Of all URLs that name a Redis; `rediss` is TLS."""

_DEFAULT_PORTS = {"sentinel": 26379, "cluster": 6379}
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


class Topology(Enum):
    """How servers stand together."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis is.

    Attributes:
        topology: see there.
        server_url: `redis://`, `rediss://` or `unix://` with login, database and options of the servers; for several
            nodes its host is the first one.
        nodes: (host, port) of the Sentinels, or of the first nodes of the cluster to ask; empty for one server.
        service: which servers the Sentinels are asked for; empty otherwise.
        sentinel_login: (user, password) at the Sentinels, each None where there is none.
    """

    topology: Topology
    server_url: str
    nodes: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_login: tuple[str | None, str | None] = (None, None)


def parse_redis_url(url: str) -> RedisAddress:
    """The address that a URL names.

    >>> parse_redis_url("redis+sentinel://a,b:26380/main/2").nodes
    (('a', 26379), ('b', 26380))
    >>> parse_redis_url("rediss+cluster://user:pw@a:7000,b:7000").server_url
    'rediss://user:pw@a:7000/0'

    Raises:
        ConfigError: it is not of a known form.
    """
    scheme = url.partition("://")[0]
    if "+" not in scheme:
        try:
            return RedisAddress(Topology.SINGLE, parse_address(url).url)
        except AddressError as exc:
            raise _wrong(url, str(exc)) from exc
    server_scheme, _, kind = scheme.partition("+")
    if scheme not in SCHEMES:
        raise _wrong(url, "it has an unknown form")
    topology = Topology(kind)
    try:
        parts = parse_multi_host_url(url, default_port=_DEFAULT_PORTS[kind])
        service, database = _path(topology, parts.path)
    except ValueError as exc:
        raise _wrong(url, str(exc)) from exc
    options = dict(parts.options)
    user, password = (options.pop(name, None) for name in _SENTINEL_OPTIONS)
    host, port = parts.nodes[0]
    login = f"{parts.login}@" if parts.login else ""
    server_url = f"{server_scheme}://{login}{f'[{host}]' if ':' in host else host}:{port}/{database}"
    if options:
        server_url += f"?{urlencode(options)}"
    return RedisAddress(topology, server_url, parts.nodes, service, (user, password))


def _path(topology: Topology, path: str) -> tuple[str, str]:
    """(service, database)."""
    if topology is Topology.CLUSTER:
        if path not in ("", "0"):
            raise ValueError("a cluster has the database 0 only")
        return "", "0"
    service, _, database = path.partition("/")
    if not service:
        raise ValueError("it does not name the service that the Sentinels watch")
    if database and not database.isdecimal():
        raise ValueError(f"the database is a number, not {database!r}")
    return service, database or "0"


def _wrong(url: str, problem: str) -> ConfigError:
    return ConfigError(
        f"Redis URL {shown_address(url)} is not usable: {problem}; expected for example redis://localhost:6379/0, "
        "redis+sentinel://host:26379,host2:26379/service or redis+cluster://host:6379,host2:6379"
    )
