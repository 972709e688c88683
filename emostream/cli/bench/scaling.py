"""Benchmarks scaling over CPU cores: one process on 1, 2, 4, … cores with one stream and with several, compared with as
many single-core processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emostream.cli.bench.machine import describe_machine, describe_models
from emostream.cli.bench.throughput import clip_spec, decode_once, run_once
from emostream.config import Settings
from emostream.domain.machine_limits import num_usable_cores
from emostream.domain.stream import StreamSpec
from emostream.errors import ConfigError
from emostream.pipeline.build import Models, load_models

NUM_STREAMS = 4


@dataclass(frozen=True, slots=True)
class Way:
    """How a clip is run.

    Attributes:
        num_streams: pipelines per process; 0 means decoding alone.
        is_split: one process per core instead of one process on all cores. This is the machine's limit, since such
            processes share only caches and memory. The service's workers run like this.
    """

    num_streams: int
    is_split: bool = False


WAYS = {
    "one stream": Way(1),
    f"{NUM_STREAMS} streams at once": Way(NUM_STREAMS),
    "a process per core": Way(1, is_split=True),
    "decoding alone": Way(0),
}


@dataclass(frozen=True, slots=True)
class CoreScaling:
    """Results for one number of cores.

    Attributes:
        num_cores: cores used.
        frames_per_second: way → rate of all streams and processes together, median over the rounds.
        times: way → rate relative to one core, median of the rounds' ratios. Each round measures everything once, so
            that a change of the machine's speed affects both.
        runs: way → rate of each round.
    """

    num_cores: int
    frames_per_second: dict[str, float]
    times: dict[str, float]
    runs: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class ScalingBenchmark:
    """Results of a clip for increasing numbers of cores.

    Attributes:
        video: the clip.
        num_runs: number of rounds.
        by_cores: in order of cores, starting with one.
        machine, models: description of machine and models.
    """

    video: str
    num_runs: int
    by_cores: list[CoreScaling]
    machine: dict[str, Any]
    models: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON-compatible values."""
        return asdict(self)


def bench_scaling(video: Path, *, settings: Settings, num_runs: int = 3) -> ScalingBenchmark:
    """Measure in new processes, each pinned to its cores.

    Raises:
        ConfigError: this system cannot pin a process to cores.
        SourceError: the clip cannot be read.
        ModelError: a model is missing.
    """
    if sys.platform != "linux":
        raise ConfigError("`bench scaling` pins processes to CPU cores, which needs Linux")
    cores = sorted(os.sched_getaffinity(0))[: num_usable_cores()]
    with _process_on(cores) as process:  # also reports errors early
        models = process.submit(_models_described, settings).result()
    steps = list(_steps(len(cores)))
    rates: dict[tuple[int, str], list[float]] = {(step, name): [] for step in steps for name in WAYS}
    for _ in range(num_runs):
        for name, way in WAYS.items():
            for step in steps:
                rates[step, name].append(_rate(cores[:step], way, video, settings=settings))
    by_cores = [
        CoreScaling(
            num_cores=step,
            frames_per_second={name: round(statistics.median(rates[step, name]), 1) for name in WAYS},
            times={name: round(_median_ratio(rates[step, name], rates[1, name]), 2) for name in WAYS},
            runs={name: [round(rate, 1) for rate in rates[step, name]] for name in WAYS},
        )
        for step in steps
    ]
    return ScalingBenchmark(str(video), num_runs, by_cores, describe_machine(), models)


def _median_ratio(rates: Sequence[float], references: Sequence[float]) -> float:
    return statistics.median(rate / reference for rate, reference in zip(rates, references, strict=True))


def _rate(cores: list[int], way: Way, video: Path, *, settings: Settings) -> float:
    """Frames per second on these cores, over all streams and processes."""
    groups = [[core] for core in cores] if way.is_split else [cores]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_process_on(group)) for group in groups]
        _all_of([process.submit(_prepare, video, settings) for process in processes])
        started = time.perf_counter()
        num_frames = sum(_all_of([process.submit(_run_prepared, way.num_streams) for process in processes]))
        return num_frames / (time.perf_counter() - started)


def _process_on(cores: Sequence[int]) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_keep_to, initargs=(list(cores),))


def _all_of(futures: Sequence[Future[int]]) -> list[int]:
    return [future.result() for future in futures]


def _keep_to(cores: list[int]) -> None:
    """Pin the child process before it starts threads, which inherit this."""
    if sys.platform == "linux":  # `bench_scaling` refuses the others
        os.sched_setaffinity(0, cores)


def _models_described(settings: Settings) -> dict[str, Any]:
    models = load_models(settings)
    try:
        return describe_models(settings, models)
    finally:
        models.close()


_prepared: list[tuple[StreamSpec, Settings, Models]] = []  # in the child process


def _prepare(video: Path, settings: Settings) -> int:
    """Load the models and run once, because the first run is slower."""
    _prepared.append((clip_spec(video), settings, load_models(settings)))
    return _run_prepared(1)


def _run_prepared(num_streams: int) -> int:
    spec, settings, models = _prepared[0]
    if num_streams == 0:
        return decode_once(spec, settings=settings).num_frames
    return run_once(spec, settings=settings, models=models, num_copies=num_streams).num_frames


def _steps(num_cores: int) -> Iterator[int]:
    """1, 2, 4, … and `num_cores`."""
    step = 1
    while step < num_cores:
        yield step
        step *= 2
    yield num_cores
