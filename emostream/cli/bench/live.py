"""Benchmarks live streams: how many this machine sustains, and the latency from capture to Redis."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any, Protocol

import numpy as np

from emostream.cli.bench.machine import describe_machine, describe_models
from emostream.cli.bench.paced_source import PacedSource
from emostream.config import Settings
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.pipeline.build import Models, build_pipeline, load_models, new_epoch
from emostream.pipeline.pipeline import PipelineStats
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.telemetry.process import resident_memory_bytes
from emostream.vision.classify.batcher import BatchStats, CropBatcher

MAX_P99_MS = 120.0
"""A load counts as sustained when the 99th percentile of latency is below this and no frame is dropped."""


@dataclass(frozen=True, slots=True)
class LiveBenchmark:
    """Result for paced streams that publish to a Redis-compatible server on this machine.

    Attributes:
        num_streams, fps, seconds, num_processes: the parameters.
        faces_per_frame: mean number of faces in published events.
        published_fps: events per second and stream; equals `fps` when the machine keeps up.
        num_dropped: frames dropped, over all streams.
        num_unclassified: frames with faces that were not classified because of load shedding.
        latency_ms: percentiles from capture to the server's reply, after the warm-up.
        mean_batch_size: crops per batch.
        cpu_ratio: CPU time of the processes over wall time; 2.0 is two full cores.
        memory_mb: largest resident size, summed over the processes, without the server.
        memory_mb_by_minute: mean resident size in each minute after the warm-up.
        memory_growth_mb: difference of the means of the measurement's second and first half.
        is_sustained: every frame classified, none dropped, and p99 within the limit.
        machine, models: description of machine and models.
    """

    num_streams: int
    fps: float
    seconds: float
    num_processes: int
    faces_per_frame: float
    published_fps: float
    num_dropped: int
    num_unclassified: int
    latency_ms: dict[str, float]
    mean_batch_size: float
    cpu_ratio: float
    memory_mb: float
    memory_mb_by_minute: list[int]
    memory_growth_mb: float
    is_sustained: bool
    machine: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON-compatible values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Load:
    """The load that all processes share: clips, number of simulated cameras, rate and duration."""

    videos: Sequence[Path]
    settings: Settings
    num_streams: int
    fps: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Share:
    """The result of one process.

    Attributes:
        stats: of each of its streams.
        ages_ms: latency of each event after the warm-up, from capture to the server's reply.
        num_events, num_faces: after the warm-up.
        batches: of its classifier.
        cpu_seconds, wall_seconds: of the whole run.
        memory_bytes: resident size, once a second after the warm-up.
        models: description of the models.
    """

    stats: list[PipelineStats]
    ages_ms: array[float]
    num_events: int
    num_faces: int
    batches: BatchStats
    cpu_seconds: float
    wall_seconds: float
    memory_bytes: list[int]
    models: dict[str, Any]


def benchmark_from(shares: Sequence[Share], *, load: Load) -> LiveBenchmark:
    """Combine the results of all processes."""
    stats = [each for share in shares for each in share.stats]
    num_events = sum(share.num_events for share in shares)
    ages_ms = np.concatenate([np.asarray(share.ages_ms) for share in shares])
    percentiles = np.percentile(ages_ms if len(ages_ms) else [float("nan")], [50, 95, 99]).tolist()
    latency_ms = dict(zip(("p50", "p95", "p99"), (round(value, 1) for value in percentiles), strict=True))
    num_dropped = sum(each.num_dropped for each in stats)
    num_unclassified = sum(each.num_unclassified for each in stats)
    num_samples = min(len(share.memory_bytes) for share in shares)
    memory_mb = np.sum([share.memory_bytes[:num_samples] for share in shares], axis=0) / 1e6
    first, second = np.array_split(memory_mb, 2)
    return LiveBenchmark(
        num_streams=load.num_streams,
        fps=load.fps,
        seconds=load.seconds,
        num_processes=len(shares),
        faces_per_frame=round(sum(share.num_faces for share in shares) / max(1, num_events), 2),
        published_fps=round(num_events / load.num_streams / load.seconds, 2),
        num_dropped=num_dropped,
        num_unclassified=num_unclassified,
        latency_ms=latency_ms,
        mean_batch_size=round(
            sum(share.batches.num_crops for share in shares)
            / max(1, sum(share.batches.num_batches for share in shares)),
            2,
        ),
        cpu_ratio=round(sum(share.cpu_seconds / share.wall_seconds for share in shares), 2),
        memory_mb=round(float(memory_mb.max(initial=0.0))),
        memory_mb_by_minute=[round(float(memory_mb[start : start + 60].mean())) for start in range(0, num_samples, 60)],
        memory_growth_mb=round(float(second.mean() - first.mean()), 1) if len(second) else 0.0,
        is_sustained=num_dropped == num_unclassified == 0 and latency_ms["p99"] <= MAX_P99_MS,
        machine=describe_machine(),
        models=shares[0].models,
    )


_START_SECONDS = 1.0  # opening all sources takes this long
_WARM_UP_SECONDS = 2.0  # first frames fill caches and start all tracks
_MAX_LOAD_SECONDS = 120.0  # to load the models in each process
_MEMORY_EVERY_SECONDS = 1.0


class _Barrier(Protocol):
    def wait(self, timeout: float | None = None) -> int: ...


@dataclass(slots=True)
class _TimingSink:
    """Forwards events and records their latency when the server replied."""

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
    """Play clips as `num_streams` simulated cameras for `seconds` and measure.

    Streams run in new processes (one by default), so that earlier measurements have no effect.

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
    """Measure 1, 2, 4, … streams, then bisect between the last sustained and the first failed number.

    `on_result` is called with each result as it is measured. Returns the results in order of size.
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
    """The largest sustained number, 0 for none, with few calls; smaller numbers than a sustained one are sustained.

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
    """Distribute the streams over the processes; all start when the last one has loaded its models."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        barrier = manager.Barrier(num_processes)
        with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
            run = partial(_run_share, load=load, redis_url=redis_url, barrier=barrier)
            numbers = [range(first, load.num_streams, num_processes) for first in range(num_processes)]
            return list(pool.map(run, numbers))


def _run_share(numbers: range, *, load: Load, redis_url: str, barrier: _Barrier) -> Share:
    """Run the streams with these numbers in a child process."""
    models = load_models(load.settings)
    try:
        with contextlib.suppress(BrokenBarrierError):  # another process failed and reports the reason
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
            # Spread the streams over the frame interval: real cameras are not synchronised.
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
