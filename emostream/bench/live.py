"""How many live streams this machine sustains, and how long a frame takes from capture to Redis."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from emostream.assembly import Models, build_pipeline, load_models, new_epoch
from emostream.bench.machine import describe_machine
from emostream.bench.paced_source import PacedSource
from emostream.classify.batcher import BatchStats, CropBatcher
from emostream.config import Settings
from emostream.event import EmotionEvent, StatusEvent
from emostream.pipeline import PipelineStats
from emostream.publish.embedded_redis import EmbeddedRedis
from emostream.publish.redis_sink import RedisSink
from emostream.stream import StreamKind, StreamSpec

_START_SECONDS = 1.0  # opening all sources takes this long
_WARM_UP_SECONDS = 2.0  # first frames load caches and meet every track for the first time

MAX_P99_MS = 120.0
"""A machine is said to sustain so many streams when the 99th percentile of latency stays below this, without drops."""


@dataclass(frozen=True, slots=True)
class LiveBenchmark:
    """Paced streams, published to a Redis-compatible server on this machine.

    Attributes:
        num_streams, fps, seconds: what was asked for.
        faces_per_frame: faces in published events.
        published_fps: events per second and stream; equals `fps` when the machine keeps up.
        num_dropped: frames lost, over all streams.
        latency_ms: percentiles from capture to the server's answer, after the warm-up.
        mean_batch_size: crops per batch.
        cpu_ratio: processor time of this process over wall time; 2.0 is two full cores.
        memory_mb: largest resident size of this process so far.
        is_sustained: no drops and p99 within the bound.
        machine: processor, cores and versions.
    """

    num_streams: int
    fps: float
    seconds: float
    faces_per_frame: float
    published_fps: float
    num_dropped: int
    latency_ms: dict[str, float]
    mean_batch_size: float
    cpu_ratio: float
    memory_mb: float
    is_sustained: bool
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(slots=True)
class _TimingSink:
    """Passes events on and keeps how old they were when the server had them."""

    sink: RedisSink
    measured_from: datetime
    ages_ms: list[float] = field(default_factory=list)
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
    videos: Sequence[Path], *, settings: Settings, num_streams: int, fps: float = 25.0, seconds: float = 15.0
) -> LiveBenchmark:
    """Play clips as `num_streams` cameras for `seconds` and measure.

    Raises:
        SourceError: a clip cannot be read.
        ModelError: a model is missing.
    """
    models = load_models(settings)
    try:
        with EmbeddedRedis() as server:
            return asyncio.run(
                _run(
                    videos,
                    settings=settings,
                    models=models,
                    redis_url=server.url,
                    num_streams=num_streams,
                    fps=fps,
                    seconds=seconds,
                )
            )
    finally:
        models.close()


def sweep_live(
    videos: Sequence[Path],
    *,
    settings: Settings,
    fps: float = 25.0,
    seconds: float = 15.0,
    on_result: Callable[[LiveBenchmark], None] | None = None,
) -> list[LiveBenchmark]:
    """Measure 1, 2, 4, … streams, then between the last sustained and the first failed number; in order of size.

    `on_result` sees each measurement as it is made.
    """

    def measure(num_streams: int) -> LiveBenchmark:
        result = bench_live(videos, settings=settings, num_streams=num_streams, fps=fps, seconds=seconds)
        if on_result is not None:
            on_result(result)
        return result

    results = [measure(1)]
    while results[-1].is_sustained:
        results.append(measure(2 * results[-1].num_streams))
    low, high = results[-1].num_streams // 2, results[-1].num_streams
    while high - low > 1:
        middle = (low + high) // 2
        results.append(measure(middle))
        low, high = (middle, high) if results[-1].is_sustained else (low, middle)
    return sorted(results, key=lambda result: result.num_streams)


async def _run(
    videos: Sequence[Path],
    *,
    settings: Settings,
    models: Models,
    redis_url: str,
    num_streams: int,
    fps: float,
    seconds: float,
) -> LiveBenchmark:
    first_frame_at = time.monotonic() + _START_SECONDS
    warm_up = timedelta(seconds=_START_SECONDS + _WARM_UP_SECONDS)
    sink = _TimingSink(RedisSink(settings.publish, redis_url=redis_url), measured_from=datetime.now(UTC) + warm_up)
    await sink.sink.check()
    num_frames = round((seconds + _WARM_UP_SECONDS) * fps)

    async def run_stream(number: int) -> PipelineStats:
        video = videos[number % len(videos)]
        spec = StreamSpec(stream_id=f"live-{number}", url=str(video), kind=StreamKind.LIVE)
        source = PacedSource(
            spec,
            settings=settings.decode,
            fps=fps,
            num_frames=num_frames,
            # Cameras are not in step with each other.
            starts_at=first_frame_at + number / num_streams / fps,
        )
        pipeline = build_pipeline(spec, settings=settings, models=models, sink=sink, epoch=new_epoch(), source=source)
        return await pipeline.run()

    cpu_before, wall_before = time.process_time(), time.monotonic()
    try:
        stats = await asyncio.gather(*(run_stream(number) for number in range(num_streams)))
    finally:
        await sink.close()
    wall = time.monotonic() - wall_before - _START_SECONDS
    num_dropped = sum(each.num_dropped for each in stats)
    percentiles = np.percentile(sink.ages_ms or [float("nan")], [50, 95, 99])
    latency_ms = dict(zip(("p50", "p95", "p99"), (round(float(value), 1) for value in percentiles), strict=True))
    batches = models.classifier.stats if isinstance(models.classifier, CropBatcher) else BatchStats()
    return LiveBenchmark(
        num_streams=num_streams,
        fps=fps,
        seconds=seconds,
        faces_per_frame=round(sink.num_faces / max(1, sink.num_events), 2),
        published_fps=round(sink.num_events / num_streams / seconds, 2),
        num_dropped=num_dropped,
        latency_ms=latency_ms,
        mean_batch_size=round(batches.num_crops / max(1, batches.num_batches), 2),
        cpu_ratio=round((time.process_time() - cpu_before) / wall, 2),
        memory_mb=round(_peak_memory_bytes() / 1e6),
        is_sustained=num_dropped == 0 and latency_ms["p99"] <= MAX_P99_MS,
        machine=describe_machine() | {"model": models.classifier.manifest.version, "detector": models.detector.name},
    )


def _peak_memory_bytes() -> int:
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
