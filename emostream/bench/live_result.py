"""What a measurement of live streams says, put together from what each process did."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emostream.bench.machine import describe_machine
from emostream.classify.batcher import BatchStats
from emostream.config import Settings
from emostream.pipeline import PipelineStats

MAX_P99_MS = 120.0
"""A machine is said to sustain so many streams when the 99th percentile of latency stays below this, without drops."""


@dataclass(frozen=True, slots=True)
class LiveBenchmark:
    """Paced streams, published to a Redis-compatible server on this machine.

    Attributes:
        num_streams, fps, seconds, num_processes: what was asked for.
        faces_per_frame: faces in published events.
        published_fps: events per second and stream; equals `fps` when the machine keeps up.
        num_dropped: frames lost, over all streams.
        num_unclassified: frames with faces whose scores were given up.
        latency_ms: percentiles from capture to the server's answer, after the warm-up.
        mean_batch_size: crops per batch.
        cpu_ratio: processor time of the processes over wall time; 2.0 is two full cores.
        memory_mb: largest resident size, summed over the processes; the server's is not in it.
        memory_mb_by_minute: its mean in each minute after the warm-up.
        memory_growth_mb: what it grew by from the first half of the measurement to the second, mean against mean.
        is_sustained: every frame classified, none dropped and p99 within the bound.
        machine, models: what was measured on and with.
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
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Load:
    """What all processes are told: which clips are played as how many cameras, how fast and for how long."""

    videos: Sequence[Path]
    settings: Settings
    num_streams: int
    fps: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Share:
    """What one process did.

    Attributes:
        stats: of each of its streams.
        ages_ms: of each event after the warm-up, from capture to the server's answer.
        num_events, num_faces: after the warm-up.
        batches: of its classifier.
        cpu_seconds, wall_seconds: of the whole run.
        memory_bytes: resident size, once a second after the warm-up.
        models: what was measured with.
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
    """The result of all processes together."""
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
