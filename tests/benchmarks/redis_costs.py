"""What do events and leases cost the Redis server: memory, network, processor?

    python -m tests.benchmarks.redis_costs [--events 4000] [--streams 100 1000 10000]

Events go through the sink into the embedded server as in operation, for several numbers of faces and ways of writing
them; leases through the scripts of the registry, for several numbers of streams. The server's own counters are read
before and after. Prints JSON; docs/scaling.md is computed from these figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from redis.asyncio import Redis

from emostream.cli.bench.machine import describe_machine
from emostream.config import EventSettings, PublishSettings
from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion
from emostream.domain.face import Face
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.records import StreamRecord, StreamReport
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.wire.keys import events_key
from tests.publish.samples import events_of

_EVENTS_PER_CALL = 8  # a few streams' worth of what gathers while one call is on its way
_STREAMS_PER_WORKER = 14
_NUM_WORKERS = 40  # whose heartbeats are measured
_NUM_ROUNDS = 5
_NUM_CHANGES = 50

WAYS: dict[str, EventSettings] = {
    "json": EventSettings(),
    "json without landmarks": EventSettings(landmarks=False),
    "msgpack, 3 digits, no landmarks": EventSettings(encoding="msgpack", probability_digits=3, landmarks=False),
}


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """Counters of a server at one instant: bytes in and out, processor seconds."""

    bytes_in: int
    bytes_out: int
    processor_seconds: float

    @classmethod
    async def read(cls, redis: Redis) -> ServerCounters:
        """As they are now."""
        info: dict[str, Any] = await redis.info("everything")
        seconds = float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
        return cls(int(info["total_net_input_bytes"]), int(info["total_net_output_bytes"]), seconds)

    def since(self, before: ServerCounters, *, num: int) -> dict[str, float]:
        """Per operation."""
        return {
            "bytes_in": round((self.bytes_in - before.bytes_in) / num, 1),
            "bytes_out": round((self.bytes_out - before.bytes_out) / num, 1),
            "processor_us": round((self.processor_seconds - before.processor_seconds) / num * 1e6, 1),
        }


def events_with_faces(stream_id: str, *, num_events: int, num_faces: int) -> list[EmotionEvent]:
    """Events whose numbers vary as real ones do: the server compresses nothing, but texts have their real lengths."""
    generator = random.Random(num_faces)

    def scores() -> EmotionScores:
        weights = [generator.random() ** 4 for _ in EMOTIONS]
        return EmotionScores(EMOTIONS, tuple(weight / sum(weights) for weight in weights))

    def face(track_id: int) -> FaceEmotion:
        x, y, size = generator.uniform(0, 500), generator.uniform(0, 250), generator.uniform(40, 110)
        landmarks = tuple((x + generator.uniform(0, size), y + generator.uniform(0, size)) for _ in range(5))
        found = Face((x, y, x + size, y + 1.2 * size), generator.uniform(0.5, 1), landmarks, track_id=track_id)
        return FaceEmotion(face=found, scores=scores(), smoothed=scores())

    timings = ("decode", "detect", "follow", "classify", "total")
    return [
        replace(
            event,
            faces=tuple(face(index) for index in range(num_faces)),
            latency_ms={name: generator.uniform(0.1, 30) for name in timings},
        )
        for event in events_of(stream_id, range(num_events))
    ]


async def event_costs(url: str, *, way: EventSettings, num_faces: int, num_events: int) -> dict[str, float]:
    """Costs of publishing one event and of reading it once, and the memory that it takes while it stays."""
    stream_id = f"{num_faces}-{abs(hash(way.model_dump_json())) % 10**6}"
    events = events_with_faces(stream_id, num_events=num_events, num_faces=num_faces)
    settings = PublishSettings(max_events_per_stream=10 * num_events, events=way)
    redis = Redis.from_url(url)
    before = await ServerCounters.read(redis)
    async with RedisSink(settings, redis_url=url) as sink:
        for start in range(0, num_events, _EVENTS_PER_CALL):
            await sink.publish(events[start : start + _EVENTS_PER_CALL])
    published = (await ServerCounters.read(redis)).since(before, num=num_events)
    memory = int(await redis.memory_usage(events_key(stream_id), samples=0) or 0) / num_events
    before = await ServerCounters.read(redis)
    position, num_read = "0", 0
    while num_read < num_events:
        ((_, entries),) = cast(Any, await redis.xread({events_key(stream_id): position}, count=_EVENTS_PER_CALL))
        position, num_read = entries[-1][0].decode(), num_read + len(entries)
    read = (await ServerCounters.read(redis)).since(before, num=num_events)
    await redis.delete(events_key(stream_id))
    await redis.aclose()
    return {
        "memory_bytes": round(memory, 1),
        "publish_bytes_in": published["bytes_in"],
        "publish_processor_us": published["processor_us"],
        "read_bytes_out": read["bytes_out"],
        "read_processor_us": read["processor_us"],
    }


async def heartbeat_costs(url: str, *, num_streams: int, streams_per_worker: int) -> dict[str, dict[str, float]]:
    """Costs of one heartbeat in a registry with so many streams, all of them leased.

    At rest; for each change that it tells of; per stream, when it tells all there is, as the first one does; and of one
    report on one stream, which each worker writes once a second.
    """
    async with RegistryStore(PublishSettings(), redis_url=url) as store:
        await store.redis.flushall()
        registry = StreamRegistry(store)
        ids = [f"camera-{index:05d}" for index in range(num_streams)]
        for index, stream_id in enumerate(ids):
            spec = StreamSpec(stream_id, f"rtsp://user:password@10.0.0.1/{index}", StreamKind.LIVE)
            await registry.create(StreamRecord(spec))
        workers: list[tuple[StreamLeases, dict[str, int]]] = []
        for start in range(0, num_streams, streams_per_worker):
            name = f"worker-{start:012x}"
            leases = StreamLeases(store, worker_id=name, max_streams=streams_per_worker, ttl_seconds=600)
            workers.append((leases, await leases.claim(ids[start : start + streams_per_worker])))

        async def beat_all() -> dict[str, float]:
            before = await ServerCounters.read(store.redis)
            for leases, held in workers[:_NUM_WORKERS]:
                await leases.heartbeat(held)
            return (await ServerCounters.read(store.redis)).since(before, num=len(workers[:_NUM_WORKERS]))

        await beat_all()  # all say that they live, which changes something for the others
        await beat_all()
        at_rest = [await beat_all() for _ in range(_NUM_ROUNDS)][-1]
        for stream_id in ids[-_NUM_CHANGES:]:
            await registry.change(stream_id, lambda record: record.changed(is_paused=True, tuning={}))
        changed = await beat_all()
        before = await ServerCounters.read(store.redis)
        for leases, held in workers[:_NUM_WORKERS]:
            reports = {name: StreamReport(StreamState.RUNNING, "", "w", epoch) for name, epoch in held.items()}
            await leases.report(reports)
        num_reports = sum(len(held) for _, held in workers[:_NUM_WORKERS])
        reported = (await ServerCounters.read(store.redis)).since(before, num=num_reports)
        workers = [
            (StreamLeases(store, worker_id=f"looker-{number}", max_streams=0, ttl_seconds=600), {})
            for number in range(_NUM_WORKERS)
        ]
        of_all = await beat_all()

    def more(figures: dict[str, float], *, per: int) -> dict[str, float]:
        return {name: round((value - at_rest[name]) / per, 3) for name, value in figures.items()}

    return {
        "at rest": at_rest,
        "per change": more(changed, per=_NUM_CHANGES),
        "per stream, all told": more(of_all, per=num_streams),
        "per stream reported": reported,
    }


async def measure(*, num_events: int, numbers_of_streams: Sequence[int]) -> dict[str, Any]:
    """All figures."""
    with EmbeddedRedis() as server:
        events = {
            name: {
                f"{num_faces} faces": await event_costs(server.url, way=way, num_faces=num_faces, num_events=num_events)
                for num_faces in (0, 1, 2, 4)
            }
            for name, way in WAYS.items()
        }
        heartbeats = {
            str(number): await heartbeat_costs(server.url, num_streams=number, streams_per_worker=_STREAMS_PER_WORKER)
            for number in numbers_of_streams
        }
    return {"events": events, "heartbeats": heartbeats, "machine": describe_machine()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--streams", type=int, nargs="+", default=[100, 1000, 10_000])
    arguments = parser.parse_args()
    figures = asyncio.run(measure(num_events=arguments.events, numbers_of_streams=arguments.streams))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
