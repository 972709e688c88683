"""Benchmarks engines and video decoders on the GPU, within a time limit (`make gpu-check`).

Everything that fails is a line of the report, so that one run on a borrowed card reports as much as it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from emostream.cli.bench.demo_clip import DEMO_FPS, make_demo_clip
from emostream.cli.bench.machine import describe_classifier, describe_machine
from emostream.config import DecodeSettings, Settings
from emostream.decode.open_source import open_source
from emostream.domain.machine_limits import num_usable_cores
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import EmostreamError, EngineUnavailableError, InferenceError
from emostream.vision.classify.batcher import CropBatcher
from emostream.vision.classify.classifier import EmotionClassifier, parallel_batches
from emostream.vision.classify.engines import GPU_ENGINES, EngineContext, check_available, open_engine
from emostream.vision.classify.packaged_models import engine_source
from emostream.vision.classify.trt_classifier import compile_classifier
from emostream.vision.detect.centerface.detector import OUTPUT_CHANNELS
from emostream.vision.detect.trt_network import compile_detector, load_trt_network
from emostream.vision.engines.trt.compile import CompileReport
from emostream.vision.engines.trt.cuda import find_gpus, peak_half_flops
from emostream.vision.engines.trt.package import TRT_NAMES, TrtName
from emostream.vision.models.store import ModelStore

DEADLINE_SECONDS = 0.008
"""Time for a call of a few crops, from its arrival to its answer: a fifth of a frame at 25 per second."""
_CROPS_PER_CALL = 4
_LOADS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
# One process of Python makes no more calls than this.
_MAX_CALLS_PER_SECOND = 4000
_DETECTOR_SIDES = (288, 480)
_VIDEOS = ((640, 360), (1920, 1080))


@dataclass(frozen=True, slots=True)
class BatchFigure:
    """Throughput at one batch size.

    Attributes:
        engine, model, precision: what was measured.
        batch: crops or frames per call.
        milliseconds: per call, median, one call at a time, copies included.
        per_second: crops or frames, with as many calls at once as the engine takes.
        peak_share: share of the card's FP16 peak that these are, 0…1; None where the peak is not known.
    """

    engine: str
    model: str
    precision: str
    batch: int
    milliseconds: float
    per_second: float
    peak_share: float | None


@dataclass(frozen=True, slots=True)
class DeadlineFigure:
    """Latency of calls of four crops at one load.

    Attributes:
        engine: what was measured.
        crops_per_second: that arrived.
        p50_ms, p99_ms: from the arrival of a call to its answer.
        is_met: whether p99 is within `DEADLINE_SECONDS`.
    """

    engine: str
    crops_per_second: float
    p50_ms: float
    p99_ms: float
    is_met: bool


@dataclass(slots=True)
class GpuBenchmark:
    """The report.

    Attributes:
        gpus: as CUDA names them.
        peak_half_tflops: of the first GPU, in dense FP16; None where it is not known.
        builds: of each engine: seconds, size, and differences from the reference.
        batches, deadlines: see there.
        decoding: size of the video → streams of 25 frames per second that the card decodes, and the decoder in use.
        failures: steps that failed, and why.
        notes: engines that do not run here, and what was left out for lack of time.
        seconds: duration of the run.
        machine: description of the machine.
    """

    gpus: list[str]
    peak_half_tflops: float | None
    builds: list[dict[str, Any]] = field(default_factory=list)
    batches: list[BatchFigure] = field(default_factory=list)
    deadlines: list[DeadlineFigure] = field(default_factory=list)
    decoding: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        return asdict(self)


def bench_gpu(
    settings: Settings,
    *,
    max_seconds: float = 240.0,
    seconds: float = 1.0,
    videos: Sequence[tuple[int, int]] = _VIDEOS,
    progress: Callable[[str], None] = lambda text: None,
) -> GpuBenchmark:
    """Build, prove and measure every engine that runs here, and the video decoder.

    Args:
        settings: model, batch sizes and precision of the classifier.
        max_seconds: no further step begins after this time.
        seconds: duration of each measurement.
        videos: width and height of the videos to decode.
        progress: called with the current step.

    Raises:
        EngineUnavailableError: there is no GPU, or no engine runs on it.
    """
    began = time.monotonic()
    gpus = find_gpus()
    peak = peak_half_flops(gpus[0])
    report = GpuBenchmark(
        gpus=[str(gpu) for gpu in gpus],
        peak_half_tflops=None if peak is None else round(peak / 1e12, 1),
        machine=describe_machine(),
    )
    engines = _usable_engines(report)
    with tempfile.TemporaryDirectory(prefix="emostream-gpu-") as folder:
        steps: dict[str, Callable[[], None]] = {}
        for name in engines:
            steps[f"{name}: classifier"] = partial(
                _bench_classifier, report, name, settings, Path(folder), peak=peak, seconds=seconds
            )
            if name not in TRT_NAMES:
                continue
            steps[f"{name}: detector"] = partial(
                _bench_detector, report, name, settings, Path(folder), peak=peak, seconds=seconds
            )
        for size in videos:
            steps[f"decoding {size[0]}×{size[1]}"] = partial(
                _bench_decoding, report, size, Path(folder), seconds=2 * seconds
            )
        for what, step in steps.items():
            if time.monotonic() - began > max_seconds:
                report.notes.append(f"{what}: left out, {max_seconds:.0f} s are over")
                continue
            progress(what)
            try:
                step()
            except EmostreamError as exc:
                report.failures.append(f"{what}: {exc}")
    report.seconds = round(time.monotonic() - began, 1)
    return report


def _usable_engines(report: GpuBenchmark) -> list[str]:
    usable: list[str] = []
    for name in GPU_ENGINES:
        try:
            check_available(name)
        except EngineUnavailableError as exc:
            report.notes.append(f"{name}: {exc}")
        else:
            usable.append(name)
    if not usable:
        raise EngineUnavailableError(f"no engine runs on {report.gpus[0]}: {'; '.join(report.notes)}")
    return usable


# --- engines ----------------------------------------------------------------------------------------------------------


def _bench_classifier(
    report: GpuBenchmark, name: str, settings: Settings, folder: Path, *, peak: float | None, seconds: float
) -> None:
    classify = settings.classify
    if name in TRT_NAMES:
        began = time.monotonic()
        built = compile_classifier(name, classify, cache_dir=folder, progress=lambda text: None)
        report.builds.append(_build_figure(built, seconds=time.monotonic() - began))
    source = engine_source(classify)
    classifier = open_engine(name, classify, EngineContext(num_threads=1, cache_dir=folder))
    with contextlib.closing(classifier):
        report.machine.setdefault("classifier", describe_classifier(classifier.manifest))
        side = classifier.manifest.input_size_pixels
        adds = multiply_adds(onnx.load_from_string(source.onnx_model), (1, side, side))
        for batch in sorted({min(size, classifier.manifest.max_batch_size) for size in classify.batches}):
            crops = np.random.default_rng(0).integers(0, 256, (batch, side, side), np.uint8)
            figure = _batch_figure(
                partial(classifier.classify, crops),
                num_parallel=parallel_batches(classifier) or 1,
                labels=(name, "classifier", classifier.manifest.precision),
                batch=batch,
                flops=2 * adds * batch,
                peak=None if peak is None else peak * len(report.gpus),
                seconds=seconds,
            )
            report.batches.append(figure)
        best = max(
            figure.per_second for figure in report.batches if (figure.engine, figure.model) == (name, "classifier")
        )
        report.deadlines += asyncio.run(_deadlines(name, classifier, settings, best=best, seconds=seconds))


def _bench_detector(
    report: GpuBenchmark, name: TrtName, settings: Settings, folder: Path, *, peak: float | None, seconds: float
) -> None:
    path = ModelStore(settings.models).path_of("centerface")
    began = time.monotonic()
    built = compile_detector(name, path, precision="fp16", cache_dir=folder, progress=lambda text: None)
    report.builds.append(_build_figure(built, seconds=time.monotonic() - began))
    adds = multiply_adds(onnx.load(path), (1, *_DETECTOR_SIDES))
    network = load_trt_network(name, path, precision="fp16", cache_dir=folder)
    try:
        for batch in (1, 4, 16):
            frames = np.random.default_rng(0).integers(0, 256, (batch, *_DETECTOR_SIDES), np.uint8)
            figure = _batch_figure(
                partial(network.run, frames, output_names=list(OUTPUT_CHANNELS)),
                num_parallel=2,
                labels=(name, "detector", built.precision),
                batch=batch,
                flops=2 * adds * batch,
                peak=peak,
                seconds=seconds,
            )
            report.batches.append(figure)
    finally:
        network.close()


def _build_figure(report: CompileReport, *, seconds: float) -> dict[str, Any]:
    return {
        "engine": report.package,
        "model": report.model,
        "precision": report.precision,
        "target": report.target,
        "seconds": round(seconds, 1),
        "size_bytes": report.size_bytes,
        "proof": None if report.engine_proof is None else dict(report.engine_proof),
    }


def _batch_figure(
    call: Callable[[], object],
    *,
    num_parallel: int,
    labels: tuple[str, str, str],
    batch: int,
    flops: float,
    peak: float | None,
    seconds: float,
) -> BatchFigure:
    call()
    durations: list[float] = []
    ends_at = time.perf_counter() + seconds / 2
    while time.perf_counter() < ends_at or len(durations) < 3:
        started = time.perf_counter()
        call()
        durations.append(time.perf_counter() - started)

    def repeat(ends_at: float) -> int:
        num = 0
        while time.perf_counter() < ends_at or not num:
            call()
            num += 1
        return num

    started = time.perf_counter()
    with ThreadPoolExecutor(num_parallel) as threads:
        calls = sum(threads.map(repeat, [started + seconds] * num_parallel))
    per_second = calls / (time.perf_counter() - started)
    return BatchFigure(
        *labels,
        batch=batch,
        milliseconds=round(1000 * statistics.median(durations), 3),
        per_second=round(per_second * batch, 1),
        peak_share=None if peak is None else round(per_second * flops / peak, 4),
    )


async def _deadlines(
    name: str, classifier: EmotionClassifier, settings: Settings, *, best: float, seconds: float
) -> list[DeadlineFigure]:
    """Latency at growing loads, through the batcher that pipelines use, until the deadline is missed."""
    batcher = CropBatcher(
        _Kept(classifier),
        num_workers=parallel_batches(classifier) or 1,
        max_batch_size=settings.classify.max_batch_size,
        wanted_crops=classifier.wanted_batch_size,
    )
    figures: list[DeadlineFigure] = []
    try:
        for share in _LOADS:
            calls_per_second = min(share * best / _CROPS_PER_CALL, _MAX_CALLS_PER_SECOND)
            waits = await _latencies(batcher, calls_per_second=calls_per_second, seconds=2 * seconds)
            p50, p99 = (1000 * _percentile(waits, part) for part in (0.5, 0.99))
            is_met = p99 <= 1000 * DEADLINE_SECONDS
            rate = round(calls_per_second * _CROPS_PER_CALL, 1)
            figures.append(DeadlineFigure(name, rate, round(p50, 2), round(p99, 2), is_met))
            if not is_met or calls_per_second == _MAX_CALLS_PER_SECOND:
                break
    finally:
        batcher.close()
    return figures


class _Kept:
    """A classifier that is not closed with its batcher."""

    def __init__(self, classifier: EmotionClassifier) -> None:
        self._classifier = classifier
        self.manifest = classifier.manifest
        self.wanted_batch_size = classifier.wanted_batch_size
        self.classify = classifier.classify

    def close(self) -> None:
        """Its owner closes it."""


async def _latencies(batcher: CropBatcher, *, calls_per_second: float, seconds: float) -> list[float]:
    """Seconds from the time at which each call was due to its answer; calls arrive at random, as those of streams."""
    side = batcher.manifest.input_size_pixels
    crops = np.random.default_rng(0).integers(0, 256, (_CROPS_PER_CALL, side, side), np.uint8)
    waits: list[float] = []

    async def one(due: float) -> None:
        await batcher.classify(crops, allow_batching_delay=True)
        waits.append(time.perf_counter() - due)

    generator = random.Random(0)  # noqa: S311  # arrival times, no secrets
    started = due = time.perf_counter()
    async with asyncio.TaskGroup() as calls:
        while due < started + seconds:
            if (delay := due - time.perf_counter()) > 0:
                await asyncio.sleep(delay)
            calls.create_task(one(due))
            due += generator.expovariate(calls_per_second)
    return waits


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(math.ceil(share * len(values)), len(values)) - 1]


_WITH_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def multiply_adds(model: onnx.ModelProto, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of a model's convolutions and matrix products for one input of this shape.

    Raises:
        InferenceError: a shape cannot be inferred.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for dim, side in zip(fixed.graph.input[0].type.tensor_type.shape.dim, input_shape, strict=True):
        dim.dim_value = side
    del fixed.graph.value_info[:]
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in (*graph.input, *graph.value_info, *graph.output)
    }
    shapes |= {item.name: list(item.dims) for item in graph.initializer}
    return sum(
        _of_node(node, shapes) for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
    )


def _of_node(node: onnx.NodeProto, shapes: Mapping[str, list[int]]) -> int:
    given, weights, result = shapes.get(node.input[0]), shapes.get(node.input[1]), shapes.get(node.output[0])
    if not given or not weights or not result or 0 in (*given, *result):
        raise InferenceError(f"the shapes of {node.op_type} {node.name or node.output[0]} cannot be inferred")
    # A convolution multiplies for each result by its kernel, a transposed one for each input; a product by a column.
    if node.op_type == "Conv":
        return math.prod(result) * math.prod(weights[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(given) * math.prod(weights[1:])
    return math.prod(result) * given[-1]


# --- decoding ---------------------------------------------------------------------------------------------------------


def _bench_decoding(report: GpuBenchmark, size: tuple[int, int], folder: Path, *, seconds: float) -> None:
    """Streams of 25 frames per second that the card decodes, luma brought down, with a thread for each core."""
    width, height = size
    clip = folder / f"{width}x{height}.mp4"
    make_demo_clip(clip, num_frames=100, width=width, height=height)
    decode = DecodeSettings(hwaccel="cuda", num_threads=1)
    decoders: set[str] = set()

    def repeat(ends_at: float) -> int:
        num = 0
        while time.perf_counter() < ends_at:
            spec = StreamSpec(stream_id="gpu-check", url=str(clip), kind=StreamKind.FILE)
            with open_source(spec, settings=decode) as source:
                for _ in source:
                    num += 1
                    if time.perf_counter() >= ends_at:
                        break
                decoders.add(source.info.decoder)
        return num

    started = time.perf_counter()
    num_threads = num_usable_cores()
    with ThreadPoolExecutor(num_threads) as threads:
        frames = sum(threads.map(repeat, [started + seconds] * num_threads))
    rate = frames / (time.perf_counter() - started)
    report.decoding[f"{width}x{height}"] = {
        "decoder": ", ".join(sorted(decoders)),
        "frames_per_second": round(rate, 1),
        "streams_at_25_fps": int(rate / DEMO_FPS),
    }
    if not any("cuda" in decoder for decoder in decoders):
        report.failures.append(f"decoding {width}×{height}: the processor decoded ({', '.join(decoders)}), not the GPU")
