"""Behind Sentinels and on a cluster, of real servers: the same promises, and a primary that dies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emostream.client import ConsumerGroup, EmotionEvents
from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.errors import ConfigError, SinkUnavailableError
from emostream.publish.redis.connection import close_redis, open_redis
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.redis.sink import RedisSink
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.wire.keys import events_key
from tests.publish.redis.test_servers import acl_lines, make_certificate
from tests.publish.redis_topologies import (
    PASSWORD,
    Cluster,
    Servers,
    Watched,
    running,
    server_binaries,
    start_cluster,
    start_pair,
    start_sentinels,
    wait_until,
)
from tests.publish.samples import CAPTURED_AT, STATUS, events_of
from tests.service.registry.test_streams import record_of

pytestmark = pytest.mark.integration

SETTINGS = PublishSettings(connect_timeout_seconds=5, max_retry_seconds=60, group_check_seconds=0)
STREAMS = [f"s{number}" for number in range(12)]  # their keys lie on all nodes


EXECUTABLES = [
    pytest.param(path, marks=[] if index == 0 else pytest.mark.slow, id=path.name)
    for index, path in enumerate(server_binaries())
]


@pytest.fixture(scope="module", params=EXECUTABLES)
def executable(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="module", params=[start_cluster, start_sentinels], ids=["cluster", "sentinel"])
def topology(
    request: pytest.FixtureRequest, executable: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster | Watched]:
    """One for all tests that do not harm it."""
    with running(executable, tmp_path_factory.mktemp("servers")) as servers:
        yield request.param(servers, *acl_lines())


async def publish(url: str, streams: list[str], indexes: range) -> None:
    async with RedisSink(SETTINGS, redis_url=url) as sink:
        for stream_id in streams:
            await sink.publish(events_of(stream_id, indexes))


async def check(url: str) -> None:
    """Log in, and close whatever comes of it."""
    sink = RedisSink(SETTINGS, redis_url=url)
    try:
        await sink.check()
    finally:
        await sink.close()


async def read_all(url: str, streams: list[str] | None = None) -> dict[str, list[int]]:
    """Frame indexes by stream."""
    found: dict[str, list[int]] = {}
    async for event in EmotionEvents(url, streams=streams, start="start", follow=False):
        found.setdefault(event.stream_id, []).append(event.frame_index)
    return found


async def take(group: ConsumerGroup, num_events: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    async with asyncio.timeout(60):
        async for batch in group.batches():
            for delivery in batch:
                found.setdefault(delivery.event.stream_id, []).append(delivery.event.frame_index)
            await group.ack(*batch)
            if sum(map(len, found.values())) >= num_events:
                break
    return found


async def test_publish_subscribe_and_share(topology: Cluster | Watched) -> None:
    url = topology.url()
    streams = [f"a-{stream_id}" for stream_id in STREAMS]
    expected = {stream_id: list(range(300)) for stream_id in streams}
    await publish(url, streams, range(300))
    await publish(url, streams, range(300))  # nothing comes twice
    assert await read_all(url, streams) == expected
    async with ConsumerGroup(url, group="g", streams=streams) as group:
        assert await take(group, 300 * len(streams)) == expected
    async with ConsumerGroup(url, group="one", streams=streams[:1]) as group:
        assert await take(group, 300) == {streams[0]: list(range(300))}


async def test_streams_that_appear_later_are_followed(topology: Cluster | Watched) -> None:
    url = topology.url()
    streams = [f"b-{stream_id}" for stream_id in STREAMS]
    async with ConsumerGroup(url, group="later", start="now") as group:
        taking = asyncio.create_task(take(group, 5 * len(streams)))
        await asyncio.sleep(1.5)
        await publish(url, streams, range(5))
        assert await taking == {stream_id: list(range(5)) for stream_id in streams}
    assert set(await read_all(url)) >= set(streams)


async def test_status_events_and_warnings(topology: Cluster | Watched) -> None:
    url = topology.url()
    async with ConsumerGroup(url, group="slow", streams=["c"]) as group:
        async with RedisSink(SETTINGS, redis_url=url) as sink:
            await sink.publish(events_of("c", range(100)))
            await sink.publish_status(STATUS)
            await take(group, 100)
        settings = SETTINGS.model_copy(update={"max_events_per_stream": 100})
        async with RedisSink(settings, redis_url=url) as sink:
            for start in range(100, 300, 50):
                await sink.publish(events_of("c", range(start, start + 50)))
    reader = RedisReader(SETTINGS, redis_url=url, stream_ids=[], start="start", follow=False, with_status=True)
    async with reader:
        events = [entry.event async for entry in reader]
    assert any(isinstance(event, StatusEvent) and event.kind == "consumer_behind" for event in events)


async def test_the_registry_works_there(topology: Cluster | Watched) -> None:
    async with RegistryStore(SETTINGS, redis_url=topology.url()) as store:
        registry = StreamRegistry(store)
        await registry.create(record_of("door"))
        worker = StreamLeases(store, worker_id="w", max_streams=5, ttl_seconds=5)
        held = await worker.claim(["door"])
        assert (await worker.heartbeat(held)).lost == ()
        status = await registry.status("door", await worker.look())
        assert status.lease is not None
        assert status.lease.worker_id == "w"
        await worker.release(held)
        await registry.remove("door")


async def test_events_are_sampled_there(topology: Cluster | Watched) -> None:
    streams = [f"e-{stream_id}" for stream_id in STREAMS]  # on all nodes
    await publish(topology.url(), streams, range(100))
    first_ms = 1000 * int(CAPTURED_AT.timestamp())
    async with RegistryStore(SETTINGS, redis_url=topology.url()) as store:
        for stream_id in streams:
            ends = await store.ends_of_events(stream_id)
            assert ends is not None
            assert [int(end.partition("-")[0]) - first_ms for end in ends] == [0, 99 * 40]
            spans = [(first_ms + at, first_ms + at + 999) for at in (-1000, 0, 1000, 2000)]
            entries = await store.first_events(stream_id, spans)
            assert [int(fields[b"frame_index"]) for _, _, fields in entries] == [0, 25, 50]
        assert await store.ends_of_events("nothing") is None


async def test_users_of_few_rights(topology: Cluster | Watched) -> None:
    await publish(topology.url("publisher:change-me"), ["d"], range(10))
    async with ConsumerGroup(topology.url("consumer:change-me"), group="g", streams=["d"]) as group:
        assert await take(group, 10) == {"d": list(range(10))}
    assert (await read_all(topology.url("consumer:change-me")))["d"] == list(range(10))
    with pytest.raises(ConfigError):
        await check(topology.url("consumer:wrong"))


@pytest.mark.parametrize("start", [start_cluster, start_sentinels], ids=["cluster", "sentinel"])
async def test_tls(start: type, executable: Path, tmp_path: Path) -> None:
    if not speaks_tls(executable):
        pytest.skip("this server was built without TLS")
    make_certificate(tmp_path)
    with running(executable, tmp_path, certificate=tmp_path) as servers:
        topology = start(servers)
        await publish(topology.url(), STREAMS, range(10))
        assert await read_all(topology.url()) == {stream_id: list(range(10)) for stream_id in STREAMS}
        with pytest.raises(SinkUnavailableError, match=r"certificate|TLS"):
            await check(topology.url().replace(f"ssl_ca_certs={tmp_path / 'cert.pem'}", ""))


def speaks_tls(executable: Path) -> bool:
    """Whether the server was built with it."""
    ended = subprocess.run([executable, "--port", "0", "--tls-port", "1"], capture_output=True, check=False, timeout=10)
    return b"Failed finding TLS support" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("start", [start_cluster, start_sentinels], ids=["cluster", "sentinel"])
async def test_a_primary_that_dies(start: type, executable: Path, tmp_path: Path) -> None:
    """Everything that reached the replica before is there once and in order, and so is everything after."""
    with running(executable, tmp_path) as servers:
        topology = start(servers)
        url = topology.url()
        expected = {stream_id: list(range(200)) for stream_id in STREAMS}
        async with (
            ConsumerGroup(url, group="g", streams=STREAMS, max_retry_seconds=60) as group,
            RedisSink(SETTINGS, redis_url=url) as sink,
        ):
            for stream_id in STREAMS:
                await sink.publish(events_of(stream_id, range(100)))
            first = await take(group, 50 * len(STREAMS))
            await replicated(servers, primaries_of(topology))
            num_left = 200 * len(STREAMS) - sum(map(len, first.values()))
            taking = asyncio.create_task(take(group, num_left))
            servers.kill(primaries_of(topology)[0])
            for stream_id in STREAMS:
                await sink.publish(events_of(stream_id, range(100, 200)))
            rest = await taking
        assert await read_all(url) == expected
        assert {stream_id: first.get(stream_id, []) + rest.get(stream_id, []) for stream_id in STREAMS} == expected


@pytest.mark.parametrize("start", [start_cluster, start_sentinels], ids=["cluster", "sentinel"])
async def test_a_failover_loses_nothing_that_replicas_acknowledged(
    start: type, executable: Path, tmp_path: Path
) -> None:
    """The primary dies the moment it acknowledged, while it is busy."""
    settings = SETTINGS.model_copy(update={"wait_replicas": 1})
    with running(executable, tmp_path) as servers:
        topology = start(servers)
        url = topology.url()
        async with RedisSink(settings, redis_url=url) as sink:
            for index in range(0, 1000, 100):
                await asyncio.gather(
                    *(sink.publish(events_of(stream_id, range(index, index + 100))) for stream_id in STREAMS)
                )
            servers.kill(primaries_of(topology)[0])
        assert await read_patiently(url) == {stream_id: list(range(1000)) for stream_id in STREAMS}


async def test_too_few_replicas_are_no_delivery(redis_server: EmbeddedRedis) -> None:
    settings = PublishSettings(wait_replicas=1, connect_timeout_seconds=0.4, max_retry_seconds=0)
    async with RedisSink(settings, redis_url=redis_server.url) as sink:
        with pytest.raises(SinkUnavailableError, match="0 of 1"):
            await sink.publish(events_of("alone", [1]))


async def test_what_is_sent_again_over_a_new_connection_waits_for_its_replica_too(
    executable: Path, tmp_path: Path
) -> None:
    hasty = PublishSettings(wait_replicas=1, connect_timeout_seconds=1, max_retry_seconds=0)
    patient = PublishSettings(wait_replicas=1, connect_timeout_seconds=30)
    with running(executable, tmp_path) as servers:
        primary, replica = start_pair(servers)
        url = f"redis://:{PASSWORD}@127.0.0.1:{primary}"
        async with RedisSink(patient, redis_url=url) as sink:
            await sink.publish(events_of("door", [0]))
        servers.processes[replica].send_signal(signal.SIGSTOP)
        for _ in range(2):
            async with RedisSink(hasty, redis_url=url) as sink:
                with pytest.raises(SinkUnavailableError, match="0 of 1"):
                    await sink.publish(events_of("door", [1]))
        servers.processes[replica].send_signal(signal.SIGCONT)
        async with RedisSink(patient, redis_url=url) as sink:
            await sink.publish(events_of("door", [1]))
            assert (sink.stats.num_published, sink.stats.num_repeated) == (0, 1)
        assert servers.client(replica).xlen(events_key("door")) == 2


async def read_patiently(url: str) -> dict[str, list[int]]:
    """Everything, through a failover."""
    reader = RedisReader(SETTINGS, redis_url=url, stream_ids=STREAMS, start="start", follow=False)
    found: dict[str, list[int]] = {}
    async with reader:
        async for entry in reader:
            assert isinstance(entry.event, EmotionEvent)
            found.setdefault(entry.event.stream_id, []).append(entry.event.frame_index)
    return found


def primaries_of(topology: Cluster | Watched) -> list[int]:
    return topology.primaries if isinstance(topology, Cluster) else [topology.primary]


async def replicated(servers: Servers, primaries: list[int]) -> None:
    """Return once the replicas have all that was written."""

    def is_done(port: int) -> bool:
        replication = servers.client(port).info("replication")
        return bool(replication["slave0"]["offset"] == replication["master_repl_offset"])

    await asyncio.to_thread(wait_until, lambda: all(is_done(port) for port in primaries))


async def test_the_wrong_kind_of_url_is_said_plainly(topology: Cluster | Watched) -> None:
    if isinstance(topology, Cluster):
        wrong = topology.url().replace("redis+cluster", "redis").partition(",")[0]
        with pytest.raises(ConfigError, match=r"use redis\+cluster://"):
            await publish(wrong, STREAMS, range(1))
        client = open_redis(topology.url(), timeout_seconds=5)
        nodes = {client.keyslot(events_key(stream_id)) // 5462 for stream_id in STREAMS}  # type: ignore[attr-defined]
        await close_redis(client)
        assert nodes == {0, 1, 2}
    else:
        wrong = topology.servers.url("cluster", [topology.primary])
        with pytest.raises(ConfigError):
            await publish(wrong, STREAMS, range(1))
        with pytest.raises(SinkUnavailableError, match="'other'"):
            await check(topology.url().replace("/door/0", "/other"))


async def test_a_slot_that_moves_to_another_node(executable: Path, tmp_path: Path) -> None:
    """Streams are moved between nodes while they are published and read."""
    with running(executable, tmp_path) as servers:
        cluster = start_cluster(servers)
        expected = {stream_id: list(range(200)) for stream_id in STREAMS[:3]}
        async with (
            ConsumerGroup(cluster.url(), group="g", streams=list(expected)) as group,
            RedisSink(SETTINGS, redis_url=cluster.url()) as sink,
        ):
            taking = asyncio.create_task(take(group, 600))
            for start in range(0, 200, 20):
                for stream_id in expected:
                    await sink.publish(events_of(stream_id, range(start, start + 20)))
                    await asyncio.to_thread(move_stream, cluster, stream_id)
            assert await taking == expected
        assert await read_all(cluster.url()) == expected


def move_stream(cluster: Cluster, stream_id: str) -> None:
    """Give the slot of a stream, and the stream, to the next primary."""
    key = events_key(stream_id)
    clients = {port: cluster.servers.client(port) for port in cluster.primaries}
    slot = clients[cluster.primaries[0]].cluster("KEYSLOT", key)
    owner = next(port for port in cluster.primaries if clients[port].cluster("COUNTKEYSINSLOT", slot))
    heir = cluster.primaries[(cluster.primaries.index(owner) + 1) % 3]
    owner_id, heir_id = (clients[port].execute_command("CLUSTER", "MYID").decode() for port in (owner, heir))
    clients[heir].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", owner_id)
    clients[owner].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", heir_id)
    clients[owner].execute_command("MIGRATE", "127.0.0.1", heir, key, 0, 5000, "AUTH", PASSWORD)
    for port in (heir, owner):
        clients[port].execute_command("CLUSTER", "SETSLOT", slot, "NODE", heir_id)
    # The next move takes the highest epoch that its node has heard of. One that has not heard of this move would take
    # the same, and two nodes could send clients to each other for ever.
    wait_until(lambda: len({_shares(client) for client in clients.values()}) == 1)


def _shares(client: Any) -> frozenset[tuple[str, str, str]]:
    """Node, epoch and slots of each primary, as this node believes."""
    nodes = client.cluster("NODES").values()
    return frozenset((node["node_id"], node["epoch"], str(node["slots"])) for node in nodes if node["slots"])
