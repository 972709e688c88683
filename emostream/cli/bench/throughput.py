"""Benchmarks the pipeline on a clip, compared with decoding alone in the same run."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from emostream.cli.bench.machine import describe_machine, describe_models
from emostream.cli.bench.stages import StageCost, profile_stages
from emostream.config import Settings
from emostream.decode.open_source import open_source
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.stream import StreamKind, StreamSpec, stream_id_from_url
from emostream.pipeline.build import Models, build_pipeline, load_models, new_epoch
from emostream.publish.files.jsonl_sink import JsonlSink


@dataclass(frozen=True, slots=True)
class PipelineBenchmark:
    """Throughput of the pipeline on one clip. Rates are medians over the runs.

    Attributes:
        video: the clip.
        width, height: pixels.
        num_runs: number of runs of each, alternating.
        num_frames: frames of the clip.
        faces_per_frame: mean number of published faces per frame.
        frames_per_second: end to end, every frame and face, with models loaded.
        decode_frames_per_second: decoding alone.
        ratio: median of the runs' ratios of the two.
        cpu_ms_per_frame: CPU milliseconds of the whole process per frame, including threads and hand-overs.
        decode_cpu_ms_per_frame: the same for decoding alone.
        stages: CPU milliseconds per frame of each stage alone (`stages.py`).
        cpu_ms_per_face: CPU milliseconds per face of each stage; empty where the clip shows no face.
        searches_per_second: frames searched by the detector, per second of the clip.
        classified_share: classified crops per face.
        latency_ms: percentiles from decoding to publishing; mostly waiting, because files are read ahead.
        frames_per_second_runs, decode_frames_per_second_runs: each run.
        machine, models: description of machine and models.
    """

    video: str
    width: int
    height: int
    num_runs: int
    num_frames: int
    faces_per_frame: float
    frames_per_second: float
    decode_frames_per_second: float
    ratio: float
    cpu_ms_per_frame: float
    decode_cpu_ms_per_frame: float
    stages: dict[str, StageCost]
    cpu_ms_per_face: dict[str, float]
    searches_per_second: float
    classified_share: float
    latency_ms: dict[str, float]
    frames_per_second_runs: list[float]
    decode_frames_per_second_runs: list[float]
    machine: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON-compatible values."""
        return asdict(self)


@dataclass(slots=True)
class _NowhereSink:
    """Encodes events and writes them to the null device, so that no server's cost is included."""

    sink: JsonlSink = field(default_factory=lambda: JsonlSink.to_file(Path(os.devnull)))
    num_faces: int = 0
    size: tuple[int, int] = (0, 0)
    ages_ms: list[float] = field(default_factory=list)

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        await self.sink.publish(events)
        self.num_faces += sum(len(event.faces) for event in events)
        self.ages_ms += [event.latency_ms["total"] for event in events]
        self.size = (events[-1].frame_width, events[-1].frame_height)

    async def publish_status(self, event: StatusEvent) -> None:
        await self.sink.publish_status(event)

    async def close(self) -> None:
        await self.sink.close()


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """Measurements of one run."""

    num_frames: int
    wall_seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.num_frames / self.wall_seconds

    @property
    def cpu_ms_per_frame(self) -> float:
        return 1000 * self.cpu_seconds / max(1, self.num_frames)


def bench_pipeline(video: Path, *, settings: Settings, num_runs: int = 5) -> PipelineBenchmark:
    """Measure decoding alone and the whole pipeline alternately, `num_runs` times each, after a warm-up.

    Raises:
        SourceError: the clip cannot be read.
        ModelError: a model is missing.
    """
    spec = clip_spec(video)
    profile = profile_stages(spec, settings=settings)
    models = load_models(settings)
    try:
        run_once(spec, settings=settings, models=models)
        decoded, runs = [], []
        for _ in range(num_runs):
            decoded.append(decode_once(spec, settings=settings))
            sink = _NowhereSink()
            runs.append(_run_pipeline(spec, settings=settings, models=models, sink=sink))
        described = describe_models(settings, models)
    finally:
        models.close()
    percentiles = np.percentile(sink.ages_ms, [50, 95, 99]).tolist()
    return PipelineBenchmark(
        video=str(video),
        width=sink.size[0],
        height=sink.size[1],
        num_runs=num_runs,
        num_frames=runs[-1].num_frames,
        faces_per_frame=round(sink.num_faces / max(1, runs[-1].num_frames), 3),
        frames_per_second=round(statistics.median(run.rate for run in runs), 1),
        decode_frames_per_second=round(statistics.median(run.rate for run in decoded), 1),
        ratio=round(statistics.median(a.rate / b.rate for a, b in zip(runs, decoded, strict=True)), 4),
        cpu_ms_per_frame=round(statistics.median(run.cpu_ms_per_frame for run in runs), 3),
        decode_cpu_ms_per_frame=round(statistics.median(run.cpu_ms_per_frame for run in decoded), 3),
        stages=profile.costs,
        cpu_ms_per_face={
            stage: round(cost.mean / profile.faces_per_frame, 3)
            for stage, cost in profile.costs.items()
            if profile.num_faces
        },
        searches_per_second=round(profile.searches_per_second, 2),
        classified_share=round(profile.classified_share, 3),
        latency_ms=dict(zip(("p50", "p95", "p99"), (round(value, 1) for value in percentiles), strict=True)),
        frames_per_second_runs=[round(run.rate, 1) for run in runs],
        decode_frames_per_second_runs=[round(run.rate, 1) for run in decoded],
        machine=describe_machine(),
        models=described,
    )


def clip_spec(video: Path) -> StreamSpec:
    """The clip as a stream that is processed to its end."""
    return StreamSpec(stream_id=stream_id_from_url(str(video)), url=str(video), kind=StreamKind.FILE)


def run_once(spec: StreamSpec, *, settings: Settings, models: Models, num_copies: int = 1) -> PipelineRun:
    """Run the clip through `num_copies` pipelines at the same time; events are discarded."""
    return _run_pipeline(spec, settings=settings, models=models, sink=_NowhereSink(), num_copies=num_copies)


def decode_once(spec: StreamSpec, *, settings: Settings) -> PipelineRun:
    """Decode the clip without any further processing."""
    with open_source(spec, settings=settings.decode) as source:
        wall, cpu = time.perf_counter(), time.process_time()
        num_frames = sum(1 for _ in source)
        return PipelineRun(num_frames, time.perf_counter() - wall, time.process_time() - cpu)


def _run_pipeline(
    spec: StreamSpec, *, settings: Settings, models: Models, sink: _NowhereSink, num_copies: int = 1
) -> PipelineRun:
    async def run() -> int:
        specs = [replace(spec, stream_id=f"{spec.stream_id}-{number}") for number in range(num_copies)]
        epoch = new_epoch()
        pipelines = [build_pipeline(each, settings=settings, models=models, sink=sink, epoch=epoch) for each in specs]
        try:
            stats = await asyncio.gather(*(pipeline.run() for pipeline in pipelines))
            return sum(each.num_frames for each in stats)
        finally:
            await sink.close()

    wall, cpu = time.perf_counter(), time.process_time()
    num_frames = asyncio.run(run())
    return PipelineRun(num_frames, time.perf_counter() - wall, time.process_time() - cpu)
