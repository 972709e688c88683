"""Everything goes wrong at once, by a seed: does every event arrive exactly once and in order?

    python -m tests.publish.stress --events 1000000 --streams 8 --seed 1

Streams are published as from files. Meanwhile, at random, the server is killed and started again with its data,
all connections are cut, and the owner of a stream is deposed: another one, with the next epoch, goes on after the last
frame that was acknowledged, while the old one goes on trying. A consumer group reads along. In the end:

- in each stream (epoch, frame_index) grows strictly: each pair at most once, in order, nothing of a deposed owner after
  its successor began;
- every frame is there;
- the consumer was given exactly the entries of each stream, each once, in order.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from emostream.client import ConsumerGroup
from emostream.config import PublishSettings
from emostream.errors import EventRejectedError
from emostream.publish.redis.connection import open_redis
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import events_key
from tests.ports import unused_port
from tests.publish.samples import events_of

Place = tuple[int, int]
"""(epoch, frame_index)."""


@dataclass(slots=True)
class Outcome:
    """What happened, and what was found wrong."""

    num_events: int = 0
    num_entries: int = 0
    num_kills: int = 0
    num_cuts: int = 0
    num_depositions: int = 0
    num_refused: int = 0
    num_retries: int = 0
    num_repeated: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Storm:
    """One run."""

    def __init__(self, *, folder: Path, num_events: int, num_streams: int, seed: int, pause_seconds: float) -> None:
        self.outcome = Outcome(num_events=num_events // num_streams * num_streams)
        self._random = random.Random(seed)  # not for secrets
        self._num_frames = num_events // num_streams
        self._stream_ids = [f"s{number}" for number in range(num_streams)]
        self._pause_seconds = pause_seconds
        self._folder = folder
        self._port = unused_port()
        self._server = self._new_server()
        self._settings = PublishSettings(
            max_events_per_stream=10 * num_events + 1000, connect_timeout_seconds=2, max_retry_seconds=120
        )
        self._epochs = dict.fromkeys(self._stream_ids, 1)
        self._acknowledged = dict.fromkeys(self._stream_ids, -1)
        self._received: dict[str, list[Place]] = {stream_id: [] for stream_id in self._stream_ids}
        self._old_owners: set[asyncio.Task[None]] = set()
        self._is_published = False

    def _new_server(self) -> EmbeddedRedis:
        return EmbeddedRedis(data_dir=self._folder, port=self._port, password="p", start_timeout_seconds=120)

    async def run(self) -> Outcome:
        """Publish everything in the storm, then look."""
        started = time.monotonic()
        await asyncio.to_thread(self._server.start)
        self._url = self._server.url
        try:
            async with asyncio.TaskGroup() as tasks:  # one that fails ends the others
                consuming = tasks.create_task(self._consume())
                weather = tasks.create_task(self._storm())
                await asyncio.gather(*(self._publish(stream_id, tasks) for stream_id in self._stream_ids))
                self._is_published = True
                await weather
                await asyncio.gather(*self._old_owners)
                await self._look()
                consuming.cancel()
        finally:
            await asyncio.to_thread(self._server.stop)
        self.outcome.seconds = round(time.monotonic() - started, 1)
        return self.outcome

    async def _publish(self, stream_id: str, tasks: asyncio.TaskGroup) -> None:
        """Own the stream until deposed; then the next owner goes on."""
        while self._acknowledged[stream_id] < self._num_frames - 1:
            epoch = self._epochs[stream_id]
            owning = tasks.create_task(self._own(stream_id, epoch))
            while not owning.done() and self._epochs[stream_id] == epoch:
                await asyncio.wait([owning], timeout=0.01)
            if owning.done():
                await owning
            else:
                self._old_owners.add(owning)

    async def _own(self, stream_id: str, epoch: int) -> None:
        sink = RedisSink(self._settings, redis_url=self._url)
        index = self._acknowledged[stream_id] + 1
        choose = random.Random(f"{stream_id}-{epoch}")
        try:
            while index < self._num_frames:
                end = min(self._num_frames, index + choose.randint(1, 64))
                events = events_of(stream_id, range(index, end), epoch=epoch, seconds_per_frame=0.001)
                await sink.publish([replace(event, faces=(), latency_ms={}) for event in events])
                if self._epochs[stream_id] == epoch:  # a deposed owner's acknowledgement is nobody's checkpoint
                    self._acknowledged[stream_id] = end - 1
                index = end
                await asyncio.sleep(0)
        except EventRejectedError:
            self.outcome.num_refused += 1  # a newer run publishes: as it must be
        finally:
            self.outcome.num_retries += sink.stats.num_retries
            self.outcome.num_repeated += sink.stats.num_repeated
            await sink.close()

    async def _consume(self) -> None:
        async with ConsumerGroup(
            self._url, group="stress", streams=self._stream_ids, max_retry_seconds=120, claim_after_seconds=600
        ) as group:
            async for batch in group.batches():
                for delivery in batch:
                    event = delivery.event
                    self._received[event.stream_id].append((event.epoch, event.frame_index))
                await group.ack(*batch)

    async def _storm(self) -> None:
        while not self._is_published:
            await asyncio.sleep(self._random.uniform(0, 2 * self._pause_seconds))
            match self._random.choices(["kill", "cut", "depose"], weights=[1, 5, 4])[0]:
                case "kill":
                    os.kill(self._server.server_pid, signal.SIGKILL)
                    await asyncio.to_thread(self._server.stop)
                    self._server = self._new_server()
                    await asyncio.to_thread(self._server.start)
                    self.outcome.num_kills += 1
                case "cut":
                    with contextlib.suppress(Exception):
                        async with open_redis(self._url, timeout_seconds=2) as client:
                            await client.client_kill_filter(_type="normal", skipme=True)
                    self.outcome.num_cuts += 1
                case "depose":
                    self._epochs[self._random.choice(self._stream_ids)] += 1
                    self.outcome.num_depositions += 1

    async def _look(self) -> None:
        for stream_id in self._stream_ids:
            places = await self._places_of(stream_id)
            self.outcome.num_entries += len(places)
            if any(after <= before for before, after in itertools.pairwise(places)):
                self._found(f"{stream_id}: entries are not in order, or twice")
            if {index for _, index in places} != set(range(self._num_frames)):
                self._found(f"{stream_id}: frames are missing")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(20):
                    while len(self._received[stream_id]) < len(places):
                        await asyncio.sleep(0.05)
            if self._received[stream_id] != places:
                missing = len(set(places) - set(self._received[stream_id]))
                given = len(self._received[stream_id])
                self._found(f"{stream_id}: the consumer was given {given} of {len(places)}, {missing} are missing")

    async def _places_of(self, stream_id: str) -> list[Place]:
        places: list[Place] = []
        after = "-"
        async with open_redis(self._url, timeout_seconds=60) as client:
            while entries := await client.xrange(events_key(stream_id), min=after, count=5000):
                places += [(int(fields[b"epoch"]), int(fields[b"frame_index"])) for _, fields in entries]  # type: ignore[index, call-overload, arg-type, union-attr, unused-ignore]
                after = f"({entries[-1][0].decode()}"  # type: ignore[union-attr, index, unused-ignore]
        return places

    def _found(self, problem: str) -> None:
        self.outcome.problems.append(problem)


def run_storm(*, num_events: int, num_streams: int, seed: int, pause_seconds: float) -> Outcome:
    """Run a storm in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="emostream-stress-") as folder:
        storm = Storm(
            folder=Path(folder),
            num_events=num_events,
            num_streams=num_streams,
            seed=seed,
            pause_seconds=pause_seconds,
        )
        return asyncio.run(storm.run())


def main() -> None:
    """Run and print the outcome as JSON; exit code 1 when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause-seconds", type=float, default=1.0, help="mean pause between two mishaps")
    arguments = parser.parse_args()
    outcome = run_storm(
        num_events=arguments.events,
        num_streams=arguments.streams,
        seed=arguments.seed,
        pause_seconds=arguments.pause_seconds,
    )
    print(json.dumps(asdict(outcome), indent=2))
    raise SystemExit(bool(outcome.problems))


if __name__ == "__main__":
    main()
