"""URLs of one server, of Sentinels and of clusters; wrong ones are said plainly, and never show a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.errors import ConfigError
from emostream.publish.redis.address import RedisAddress, Topology, parse_redis_url
from emostream.publish.redis.connection import close_redis, is_cluster, open_redis

HOSTS = st.sampled_from(["a", "redis-0.redis", "10.0.0.7", "::1"])
NODES = st.lists(st.tuples(HOSTS, st.integers(1, 65535)), min_size=1, max_size=4)


def _written(nodes: list[tuple[str, int]]) -> str:
    return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in nodes)


@pytest.mark.parametrize("url", ["redis://a:1/0", "rediss://u:p@a?ssl_ca_certs=x", "unix:///s?db=1"])
def test_of_one_server_is_left_as_it_is(url: str) -> None:
    assert parse_redis_url(url) == RedisAddress(Topology.SINGLE, url)


@given(NODES, st.sampled_from(["redis", "rediss"]), st.integers(0, 15))
def test_of_sentinels(nodes: list[tuple[str, int]], scheme: str, database: int) -> None:
    query = "sentinel_password=s&ssl_check_hostname=no"
    address = parse_redis_url(f"{scheme}+sentinel://user:pw@{_written(nodes)}/door/{database}?{query}")
    first = _written(nodes[:1])
    assert address == RedisAddress(
        Topology.SENTINEL,
        f"{scheme}://user:pw@{first}/{database}?ssl_check_hostname=no",
        tuple(nodes),
        "door",
        (None, "s"),
    )


@given(NODES)
def test_of_a_cluster(nodes: list[tuple[str, int]]) -> None:
    address = parse_redis_url(f"redis+cluster://{_written(nodes)}")
    assert (address.topology, address.nodes) == (Topology.CLUSTER, tuple(nodes))
    assert address.server_url == f"redis://{_written(nodes[:1])}/0"


def test_default_ports() -> None:
    assert parse_redis_url("redis+sentinel://a,b:1/door").nodes == (("a", 26379), ("b", 1))
    assert parse_redis_url("redis+cluster://a,[::1]").nodes == (("a", 6379), ("::1", 6379))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://user:secret@a:1", "does not name the service"),
        ("redis+sentinel://user:secret@a:1/door/x", "is a number"),
        ("redis+cluster://user:secret@a:1/2", "database 0 only"),
        ("redis+cluster://user:secret@a:99999", "is not a host with a port"),
        ("redis+cluster://user:secret@a:1,", "is not a host with a port"),
        ("redis+cluster://user:secret@", "is not a host with a port"),
        ("redis+magic://user:secret@a", "unknown form"),
        ("http+cluster://user:secret@a", "unknown form"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_redis_url(url)
    assert "secret" not in str(caught.value)
    assert "redis+sentinel://host:26379" in str(caught.value)


@pytest.mark.parametrize("url", ["redis://a", "redis+cluster://a", "redis+sentinel://a/door"])
@pytest.mark.parametrize("option", ["socket_timeout=x", "nonsense=1"])
def test_an_unknown_option_is_an_error(url: str, option: str) -> None:
    with pytest.raises(ConfigError):
        open_redis(f"{url}?{option}", timeout_seconds=1)


async def test_opens_a_client_of_each_kind() -> None:
    for url, expected in (("redis://a", False), ("redis+sentinel://a/door", False), ("rediss+cluster://a", True)):
        client = open_redis(url, timeout_seconds=1)
        assert is_cluster(client) is expected
        await close_redis(client)
