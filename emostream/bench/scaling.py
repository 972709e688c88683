"""How the pipeline gains from cores: the same measurement on 1, 2, 4, … of them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from emostream.bench.throughput import PipelineBenchmark, bench_pipeline
from emostream.config import Settings
from emostream.errors import ConfigError


def bench_scaling(video: Path, *, settings: Settings, num_runs: int = 3) -> list[tuple[int, PipelineBenchmark]]:
    """(cores, measurement) in order; each in a fresh process that may use so many cores and no more.

    Raises:
        ConfigError: this system cannot keep a process to some cores.
        SourceError: the clip cannot be read.
        ModelError: a model is missing.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError("measuring by cores needs Linux, which can keep a process to some of them")
    cores = sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    results = []
    for num_cores in _steps(len(cores)):
        with ProcessPoolExecutor(1, mp_context=context, initializer=_keep_to, initargs=(cores[:num_cores],)) as pool:
            results.append((num_cores, pool.submit(_measure, video, settings, num_runs).result()))
    return results


def _keep_to(cores: list[int]) -> None:
    """Runs in the child before anything else: threads that it starts inherit this."""
    os.sched_setaffinity(0, cores)


def _measure(video: Path, settings: Settings, num_runs: int) -> PipelineBenchmark:
    return bench_pipeline(video, settings=settings, num_runs=num_runs)


def _steps(num_cores: int) -> Iterator[int]:
    """1, 2, 4, … and the number itself."""
    step = 1
    while step < num_cores:
        yield step
        step *= 2
    yield num_cores
