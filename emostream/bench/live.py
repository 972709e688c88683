"""How many live streams this machine sustains, and how long a frame takes from capture to Redis."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import BrokenBarrierError
from typing import Protocol

from emostream.assembly import Models, build_pipeline, load_models, new_epoch
from emostream.bench.live_result import LiveBenchmark, Load, Share, benchmark_from
from emostream.bench.machine import describe_models
from emostream.bench.paced_source import PacedSource
from emostream.classify.batcher import BatchStats, CropBatcher
from emostream.config import Settings
from emostream.event import EmotionEvent, StatusEvent
from emostream.pipeline import PipelineStats
from emostream.process_figures import resident_memory_bytes
from emostream.publish.embedded_redis import EmbeddedRedis
from emostream.publish.redis_sink import RedisSink
from emostream.stream import StreamKind, StreamSpec

_START_SECONDS = 1.0  # opening all sources takes this long
_WARM_UP_SECONDS = 2.0  # first frames load caches and meet every track for the first time
_MAX_LOAD_SECONDS = 120.0  # of the models in each process
_MEMORY_EVERY_SECONDS = 1.0


class _Barrier(Protocol):
    def wait(self, timeout: float | None = None) -> int: ...


@dataclass(slots=True)
class _TimingSink:
    """Passes events on and keeps how old they were when the server had them."""

    sink: RedisSink
    measured_from: datetime
    ages_ms: array[float] = field(default_factory=lambda: array("d"))  # a list of floats takes four times the memory
    num_events: int = 0
    num_faces: int = 0

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        await self.sink.publish(events)
        now = datetime.now(UTC)
        for event in events:
            if event.captured_at >= self.measured_from:
                self.ages_ms.append(1000 * (now - event.captured_at).total_seconds())
                self.num_events += 1
                self.num_faces += len(event.faces)

    async def publish_status(self, event: StatusEvent) -> None:
        await self.sink.publish_status(event)

    async def close(self) -> None:
        await self.sink.close()


def bench_live(
    videos: Sequence[Path],
    *,
    settings: Settings,
    num_streams: int,
    fps: float = 25.0,
    seconds: float = 15.0,
    num_processes: int = 1,
) -> LiveBenchmark:
    """Play clips as `num_streams` cameras for `seconds` and measure.

    Streams run in processes of their own, by default all in one, so that what was measured before does not show.

    Raises:
        SourceError: a clip cannot be read.
        ModelError: a model is missing.
    """
    load = Load(videos, settings, num_streams, fps, seconds)
    with EmbeddedRedis() as server:
        shares = _run_in_processes(load, redis_url=server.url, num_processes=num_processes)
    return benchmark_from(shares, load=load)


def sweep_live(
    videos: Sequence[Path],
    *,
    settings: Settings,
    fps: float = 25.0,
    seconds: float = 15.0,
    num_processes: int = 1,
    on_result: Callable[[LiveBenchmark], None] | None = None,
) -> list[LiveBenchmark]:
    """Measure 1, 2, 4, … streams, then between the last sustained and the first failed number; in order of size.

    `on_result` sees each measurement as it is made.
    """

    results: list[LiveBenchmark] = []

    def is_sustained(num_streams: int) -> bool:
        result = bench_live(
            videos,
            settings=settings,
            num_streams=num_streams,
            fps=fps,
            seconds=seconds,
            num_processes=min(num_processes, num_streams),
        )
        if on_result is not None:
            on_result(result)
        results.append(result)
        return result.is_sustained

    search_limit(is_sustained)
    return sorted(results, key=lambda result: result.num_streams)


def search_limit(is_sustained: Callable[[int], bool]) -> int:
    """The largest number that is sustained, 0 for none, where with a number all smaller ones are; asks for few.

    >>> asked = []
    >>> search_limit(lambda number: asked.append(number) or number <= 5), asked
    (5, [1, 2, 4, 8, 6, 5])
    """
    low, high = 0, 1
    while is_sustained(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_sustained(middle) else (low, middle)
    return low


def _run_in_processes(load: Load, *, redis_url: str, num_processes: int) -> list[Share]:
    """Every process takes each so-manyth stream; all begin when the last one has its models."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        barrier = manager.Barrier(num_processes)
        with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
            run = partial(_run_share, load=load, redis_url=redis_url, barrier=barrier)
            numbers = [range(first, load.num_streams, num_processes) for first in range(num_processes)]
            return list(pool.map(run, numbers))


def _run_share(numbers: range, *, load: Load, redis_url: str, barrier: _Barrier) -> Share:
    """Some of the streams, by number. Runs in a child process."""
    models = load_models(load.settings)
    try:
        with contextlib.suppress(BrokenBarrierError):  # then another process says what is wrong
            barrier.wait(_MAX_LOAD_SECONDS)
        return asyncio.run(_run(numbers, load=load, models=models, redis_url=redis_url))
    finally:
        models.close()


async def _run(numbers: range, *, load: Load, models: Models, redis_url: str) -> Share:
    first_frame_at = time.monotonic() + _START_SECONDS
    warm_up = timedelta(seconds=_START_SECONDS + _WARM_UP_SECONDS)
    sink = _TimingSink(RedisSink(load.settings.publish, redis_url=redis_url), measured_from=datetime.now(UTC) + warm_up)
    await sink.sink.check()

    async def run_stream(number: int) -> PipelineStats:
        spec = StreamSpec(
            stream_id=f"live-{number}", url=str(load.videos[number % len(load.videos)]), kind=StreamKind.LIVE
        )
        source = PacedSource(
            spec,
            settings=load.settings.decode,
            fps=load.fps,
            num_frames=round((load.seconds + _WARM_UP_SECONDS) * load.fps),
            # Cameras are not in step with each other.
            starts_at=first_frame_at + number / load.num_streams / load.fps,
        )
        pipeline = build_pipeline(
            spec, settings=load.settings, models=models, sink=sink, epoch=new_epoch(), source=source
        )
        return await pipeline.run()

    memory_bytes: list[int] = []
    watching = asyncio.create_task(_watch_memory(memory_bytes))
    cpu_before, wall_before = time.process_time(), time.monotonic()
    try:
        stats = await asyncio.gather(*(run_stream(number) for number in numbers))
    finally:
        watching.cancel()
        await sink.close()
    return Share(
        stats=list(stats),
        ages_ms=sink.ages_ms,
        num_events=sink.num_events,
        num_faces=sink.num_faces,
        batches=models.classifier.stats if isinstance(models.classifier, CropBatcher) else BatchStats(),
        cpu_seconds=time.process_time() - cpu_before,
        wall_seconds=time.monotonic() - wall_before - _START_SECONDS,
        memory_bytes=memory_bytes,
        models=describe_models(load.settings, models),
    )


async def _watch_memory(memory_bytes: list[int]) -> None:
    await asyncio.sleep(_START_SECONDS + _WARM_UP_SECONDS)
    while True:
        memory_bytes.append(int(resident_memory_bytes()))
        await asyncio.sleep(_MEMORY_EVERY_SECONDS)
