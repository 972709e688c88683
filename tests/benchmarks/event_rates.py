"""How many events per second go into Redis and come out of it, on this machine?

    python -m tests.benchmarks.event_rates [--events 40000] [--runs 3] [--faces 1]

Events with one face each, or as many as asked for, in calls of 256, against the embedded server on this machine:
published by one sink, read by one consumer of a group that acknowledges, and read by a subscription. Prints the medians
as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import replace
from functools import partial

from emostream.cli.bench.machine import describe_machine
from emostream.client import ConsumerGroup, EmotionEvents
from emostream.config import PublishSettings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from tests.publish.samples import events_of

_EVENTS_PER_CALL = 256


class _Watch:
    """Measures time on the wall, and of this process: the second does not suffer from what else the machine does."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def rates(self, num_events: int) -> tuple[float, float]:
        """Events per second of either."""
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return num_events / wall, num_events / processor


async def publish_rate(url: str, stream_id: str, *, num_events: int, num_faces: int) -> tuple[float, float]:
    """Events per second into Redis."""
    events = [replace(event, faces=event.faces * num_faces) for event in events_of(stream_id, range(num_events))]
    async with RedisSink(PublishSettings(max_events_per_stream=10 * num_events), redis_url=url) as sink:
        watch = _Watch()
        for start in range(0, num_events, _EVENTS_PER_CALL):
            await sink.publish(events[start : start + _EVENTS_PER_CALL])
        return watch.rates(num_events)


async def group_rate(url: str, stream_id: str, *, num_events: int) -> tuple[float, float]:
    """Events per second out of a consumer group, decoded and acknowledged."""
    num_read = 0
    async with ConsumerGroup(url, group="bench", streams=[stream_id]) as group:
        watch = _Watch()
        async for batch in group.batches():
            await group.ack(*batch)
            num_read += len(batch)
            if num_read == num_events:
                break
        return watch.rates(num_events)


async def subscription_rate(url: str, stream_id: str, *, num_events: int) -> tuple[float, float]:
    """Events per second out of `async for event in EmotionEvents(...)`."""
    watch = _Watch()
    num_read = 0
    async for _ in EmotionEvents(url, streams=[stream_id], start="start", follow=False):
        num_read += 1
    if num_read != num_events:
        raise AssertionError(f"expected {num_events} events, got {num_read}")
    return watch.rates(num_events)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--faces", type=int, default=1, help="faces per event")
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {}
    processor_rates: dict[str, list[float]] = {}
    for run in range(arguments.runs):
        with EmbeddedRedis() as server:
            for name, measure in (
                ("publish", partial(publish_rate, num_faces=arguments.faces)),
                ("consumer_group", group_rate),
                ("subscription", subscription_rate),
            ):
                rate, processor_rate = asyncio.run(measure(server.url, f"bench{run}", num_events=arguments.events))
                rates.setdefault(name, []).append(round(rate))
                processor_rates.setdefault(name, []).append(round(processor_rate))
    result = {
        "events_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "events_per_processor_second": {name: statistics.median(values) for name, values in processor_rates.items()},
        "runs": rates,
        "faces_per_event": arguments.faces,
        "machine": describe_machine(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
