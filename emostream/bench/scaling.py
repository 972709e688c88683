"""How the pipeline gains from cores: one process on 1, 2, 4, … of them, with one stream and with several at once, and
beside it so many processes of one core."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emostream.assembly import Models, load_models
from emostream.bench.throughput import PipelineBenchmark, bench_pipeline, clip_spec, run_once
from emostream.config import Settings
from emostream.errors import ConfigError
from emostream.stream import StreamSpec

NUM_STREAMS = 4


@dataclass(frozen=True, slots=True)
class CoreScaling:
    """The same clip with so many cores.

    Attributes:
        num_cores: cores used.
        one_process: one pipeline in a process that may use all of them.
        streams_frames_per_second: `NUM_STREAMS` pipelines at once in such a process, together; median of the runs.
        processes_frames_per_second: as many processes as cores, each with a pipeline and a core of its own, together;
            median of the runs. What the machine allows: they share nothing but caches and memory. The workers of the
            service are such processes.
    """

    num_cores: int
    one_process: PipelineBenchmark
    streams_frames_per_second: float
    processes_frames_per_second: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "num_cores": self.num_cores,
            "streams_frames_per_second": self.streams_frames_per_second,
            "processes_frames_per_second": self.processes_frames_per_second,
            **self.one_process.as_dict(),
        }


def bench_scaling(video: Path, *, settings: Settings, num_runs: int = 3) -> list[CoreScaling]:
    """In order of cores; everything is measured in fresh processes that are kept to their cores.

    Raises:
        ConfigError: this system cannot keep a process to some cores.
        SourceError: the clip cannot be read.
        ModelError: a model is missing.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError("measuring by cores needs Linux, which can keep a process to some of them")
    cores = sorted(os.sched_getaffinity(0))
    results = []
    for num_cores in _steps(len(cores)):
        with _process_on(cores[:num_cores]) as process:
            one_process = process.submit(_measure, video, settings, num_runs).result()
        of_streams, of_processes = (
            _rate(groups, num_streams, video, settings=settings, num_runs=num_runs)
            for groups, num_streams in (
                ([cores[:num_cores]], NUM_STREAMS),
                ([[core] for core in cores[:num_cores]], 1),
            )
        )
        results.append(CoreScaling(num_cores, one_process, round(of_streams, 1), round(of_processes, 1)))
    return results


def _rate(groups: Sequence[list[int]], num_streams: int, video: Path, *, settings: Settings, num_runs: int) -> float:
    """Frames per second of a process for each group of cores, each with so many streams, all at the same time."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_process_on(cores)) for cores in groups]
        _all_of([process.submit(_prepare, video, settings, num_streams) for process in processes])
        rates = []
        for _ in range(num_runs):
            started = time.perf_counter()
            num_frames = sum(_all_of([process.submit(_run_prepared) for process in processes]))
            rates.append(num_frames / (time.perf_counter() - started))
    return statistics.median(rates)


def _process_on(cores: Sequence[int]) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_keep_to, initargs=(list(cores),))


def _all_of(futures: Sequence[Future[int]]) -> list[int]:
    return [future.result() for future in futures]


def _keep_to(cores: list[int]) -> None:
    """Runs in the child before anything else: threads that it starts inherit this."""
    os.sched_setaffinity(0, cores)


def _measure(video: Path, settings: Settings, num_runs: int) -> PipelineBenchmark:
    return bench_pipeline(video, settings=settings, num_runs=num_runs)


_prepared: list[tuple[StreamSpec, Settings, Models, int]] = []  # in the child


def _prepare(video: Path, settings: Settings, num_streams: int) -> int:
    """Load the models and run once: the first run is slower."""
    _prepared.append((clip_spec(video), settings, load_models(settings), num_streams))
    return _run_prepared()


def _run_prepared() -> int:
    spec, settings, models, num_streams = _prepared[0]
    return run_once(spec, settings=settings, models=models, num_copies=num_streams).num_frames


def _steps(num_cores: int) -> Iterator[int]:
    """1, 2, 4, … and the number itself."""
    step = 1
    while step < num_cores:
        yield step
        step *= 2
    yield num_cores
