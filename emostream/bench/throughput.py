"""How fast the pipeline is on a clip, beside decoding alone, in the same run."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emostream.assembly import Models, build_pipeline, load_models, new_epoch
from emostream.bench.machine import describe_machine
from emostream.config import Settings
from emostream.decode.pyav_source import PyAVSource
from emostream.pipeline import PipelineStats
from emostream.publish.jsonl_sink import JsonlSink
from emostream.stream import StreamKind, StreamSpec, stream_id_from_url


@dataclass(frozen=True, slots=True)
class PipelineBenchmark:
    """Throughput of the pipeline on one clip; rates are medians over the runs.

    Attributes:
        video: the clip.
        num_runs: how often each of both was run, in turn.
        num_frames: frames of the clip.
        faces_per_frame: published faces per frame.
        frames_per_second: end to end, every frame and face, models already loaded.
        decode_frames_per_second: decoding alone.
        ratio: the first over the second, run by run, then the median.
        stage_ms_per_frame: milliseconds of each stage per frame; stages overlap.
        frames_per_second_runs, decode_frames_per_second_runs: each run.
        machine: processor, cores and versions.
    """

    video: str
    num_runs: int
    num_frames: int
    faces_per_frame: float
    frames_per_second: float
    decode_frames_per_second: float
    ratio: float
    stage_ms_per_frame: dict[str, float]
    frames_per_second_runs: list[float]
    decode_frames_per_second_runs: list[float]
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def bench_pipeline(video: Path, *, settings: Settings, num_runs: int = 3) -> PipelineBenchmark:
    """Measure decoding alone and the whole pipeline in turn, `num_runs` times each, after one warm-up.

    Events are encoded and written to the null device, so the cost of a Redis server is not in the figure.

    Raises:
        SourceError: the clip cannot be read.
        ModelError: a model is missing.
    """
    spec = StreamSpec(stream_id=stream_id_from_url(str(video)), url=str(video), kind=StreamKind.FILE)
    models = load_models(settings)
    try:
        _run_pipeline(spec, settings=settings, models=models)
        decode_rates, rates, stats = [], [], PipelineStats()
        for _ in range(num_runs):
            decode_rates.append(_decode_rate(spec, settings=settings))
            rate, stats = _run_pipeline(spec, settings=settings, models=models)
            rates.append(rate)
    finally:
        models.close()
    num_frames = max(1, stats.num_frames)
    return PipelineBenchmark(
        video=str(video),
        num_runs=num_runs,
        num_frames=stats.num_frames,
        faces_per_frame=round(stats.num_faces / num_frames, 3),
        frames_per_second=round(statistics.median(rates), 1),
        decode_frames_per_second=round(statistics.median(decode_rates), 1),
        ratio=round(statistics.median(a / b for a, b in zip(rates, decode_rates, strict=True)), 4),
        stage_ms_per_frame={
            stage: round(1000 * seconds / num_frames, 3) for stage, seconds in stats.stage_seconds.items()
        },
        frames_per_second_runs=[round(rate, 1) for rate in rates],
        decode_frames_per_second_runs=[round(rate, 1) for rate in decode_rates],
        machine=describe_machine() | {"model": models.classifier.manifest.version, "detector": models.detector.name},
    )


def _decode_rate(spec: StreamSpec, *, settings: Settings) -> float:
    num_frames = 0
    with PyAVSource(spec, settings=settings.decode) as source:
        started = time.perf_counter()
        for _ in source:
            num_frames += 1
        return num_frames / (time.perf_counter() - started)


def _run_pipeline(spec: StreamSpec, *, settings: Settings, models: Models) -> tuple[float, PipelineStats]:
    async def run() -> PipelineStats:
        sink = JsonlSink.to_file(Path(os.devnull))
        pipeline = build_pipeline(spec, settings=settings, models=models, sink=sink, epoch=new_epoch())
        try:
            return await pipeline.run()
        finally:
            await sink.close()

    started = time.perf_counter()
    stats = asyncio.run(run())
    return stats.num_frames / (time.perf_counter() - started), stats
