"""URLs that name several hosts, which the standard library cannot read."""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from emostream.domain.address import encoded_login, holds_control_characters, split_address

_SCHEME = re.compile(r"[a-z+]+")
_REST = re.compile(r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?")
_NODE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class MultiHostUrl:
    """The parts of a URL.

    Attributes:
        scheme: before `://`.
        login: `user:password`, percent-encoded; empty when there is none.
        nodes: (host, port), at least one.
        path: without slashes at its ends.
        options: what stands after `?`.
    """

    scheme: str
    login: str = field(repr=False)
    nodes: tuple[tuple[str, int], ...]
    path: str
    options: dict[str, str] = field(repr=False)

    @property
    def user(self) -> str | None:
        """Decoded; None when there is none."""
        return unquote(self.login.partition(":")[0]) or None

    @property
    def password(self) -> str | None:
        """Decoded; None when there is none."""
        return unquote(self.login.partition(":")[2]) or None


def parse_multi_host_url(url: str, *, default_port: int, known_options: Collection[str] | None = None) -> MultiHostUrl:
    """The parts of `scheme://user:password@host:port,host:port/path?option=value`.

    >>> parse_multi_host_url("kafka://a,[::1]:9093/events?x=1", default_port=9092).nodes
    (('a', 9092), ('::1', 9093))

    Raises:
        ValueError: it has another form, or options other than `known_options`; the message shows no password.
    """
    scheme, separator, after = url.partition("://")
    parts = split_address(scheme, after)
    match = _REST.fullmatch(parts.rest)
    if not separator or match is None or not _SCHEME.fullmatch(scheme):
        raise ValueError("it has an unknown form")
    if holds_control_characters(parts.login or ""):
        raise ValueError("there are control characters in its user or password")
    options = dict(parse_qsl(match["query"] or "", keep_blank_values=True))
    if known_options is not None and (unknown := set(options) - set(known_options)):
        raise ValueError(f"unknown options {', '.join(sorted(unknown))}")
    return MultiHostUrl(
        scheme=scheme,
        login=encoded_login(parts.login or ""),
        nodes=tuple(_node(text, default_port=default_port) for text in parts.place.split(",")),
        path=(match["path"] or "").strip("/"),
        options=options,
    )


def tls_context(address: MultiHostUrl) -> ssl.SSLContext:
    """For a client that trusts the system's authorities, or those in the file of its option `ssl_ca_certs`.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=address.options.get("ssl_ca_certs"))
    except OSError as exc:
        raise ValueError(f"the certificates of ssl_ca_certs cannot be read: {exc}") from exc


def _node(text: str, *, default_port: int) -> tuple[str, int]:
    match = _NODE.fullmatch(text)
    if match is None or (match[2] and not 0 < int(match[2]) <= _MAX_PORT):
        raise ValueError("one of its servers is not a host with a port")  # the text may be a piece of a password
    return match[1].strip("[]"), int(match[2] or default_port)
