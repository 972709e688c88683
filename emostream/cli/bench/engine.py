"""Benchmarks the classifier and the detector alone, on one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from emostream.cli.bench.demo_clip import load_portraits
from emostream.config import Settings
from emostream.pipeline.build import load_chosen_detector
from emostream.pipeline.process_tuning import tune_process
from emostream.vision.classify.load import load_classifier
from emostream.vision.engines.processor import has_int8_instructions

_BATCH_SIZES = (1, 2, 4, 8, 16, 32)
_FRAME_SIZES = ((480, 270), (640, 360), (1280, 720), (1920, 1080))


@dataclass(frozen=True, slots=True)
class EngineFigure:
    """One measured configuration.

    Attributes:
        engine: engine and precision.
        what: batch size or frame size.
        num_items: crops or frames per call.
        milliseconds: per call, median over the runs.
        per_second: crops or frames per second.
    """

    engine: str
    what: str
    num_items: int
    milliseconds: float
    per_second: float


def bench_classifier(settings: Settings, *, seconds: float = 1.0) -> list[EngineFigure]:
    """Time the classifier by precision and batch size, each for about `seconds`."""
    figures = []
    for precision in _precisions(settings.classify.precision):
        classify = settings.classify.model_copy(update={"precision": precision})
        classifier = load_classifier(classify, cache_dir=settings.models.cache_dir)
        size = classifier.manifest.input_size_pixels
        engine = f"{settings.classify.engine} {classifier.manifest.precision}"
        random = np.random.default_rng(0)
        try:
            for num_crops in _BATCH_SIZES:
                crops = random.integers(0, 256, (num_crops, size, size), dtype=np.uint8)
                call_seconds = _median_seconds(partial(classifier.classify, crops), seconds=seconds)
                figures.append(_figure(engine, f"batch {num_crops}", num_crops, call_seconds))
        finally:
            classifier.close()
    return figures


def bench_detector(settings: Settings, *, seconds: float = 1.0) -> list[EngineFigure]:
    """Time the detector by precision and frame size, each for about `seconds`, on frames with one face."""
    tune_process()
    portrait = cv2.cvtColor(load_portraits()[0], cv2.COLOR_RGB2GRAY)
    figures = []
    for precision in _precisions(settings.detect.precision):
        detect = settings.detect.model_copy(update={"precision": precision})
        detector = load_chosen_detector(settings.model_copy(update={"detect": detect}))
        for width, height in _FRAME_SIZES:
            luma = np.asarray(cv2.resize(portrait, (width, height)), dtype=np.uint8)
            call_seconds = _median_seconds(partial(detector.detect, luma), seconds=seconds)
            figures.append(_figure(f"{detector.name} {precision}", f"{width}×{height}", 1, call_seconds))
    return figures


def _precisions(wanted: str) -> Iterator[str]:
    """The requested precision; with `auto`, all that are fast on this processor."""
    if wanted != "auto":
        yield wanted
        return
    yield "fp32"
    if has_int8_instructions():
        yield "int8"


def _median_seconds(call: Callable[[], Any], *, seconds: float) -> float:
    call()  # the first call allocates
    durations: list[float] = []
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at or len(durations) < 3:
        started = time.perf_counter()
        call()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def _figure(engine: str, what: str, num_items: int, call_seconds: float) -> EngineFigure:
    return EngineFigure(engine, what, num_items, round(1000 * call_seconds, 3), round(num_items / call_seconds, 1))


def as_rows(figures: Sequence[EngineFigure]) -> list[tuple[str, str, str, str, str]]:
    """Table rows: engine, batch or frame size, ms per call, ms per item, items per second."""
    return [
        (
            figure.engine,
            figure.what,
            f"{figure.milliseconds:.2f}",
            f"{figure.milliseconds / figure.num_items:.2f}",
            f"{figure.per_second:.0f}",
        )
        for figure in figures
    ]
