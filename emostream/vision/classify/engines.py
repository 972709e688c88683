"""Finds an engine by its name, built in or from an installed package (entry points `emostream.engines`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points, version
from pathlib import Path

import numpy as np

from emostream.config import ClassifySettings
from emostream.errors import ConfigError, EngineUnavailableError
from emostream.vision.classify.classifier import EmotionClassifier
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.classify.packaged_models import PackagedVariant, packaged_variant_path
from emostream.vision.engines.fastest import ENGINE_CHOICES_FILE, fastest
from emostream.vision.engines.processor import has_int8_instructions, processor_name
from emostream.vision.engines.trt.cuda import find_gpu
from emostream.vision.engines.trt.package import TRT_NAMES, TrtName, load_package

ENTRY_POINTS = "emostream.engines"
"""The group under which packages name their engines: name = factory."""

DEFAULT_ENGINE = "onnxruntime"
"""Runs everywhere."""


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What an engine is told beside the settings.

    Attributes:
        num_threads: threads per batch, for engines on CPUs.
        cache_dir: folder where an engine may keep what it compiled.
    """

    num_threads: int
    cache_dir: Path


EngineFactory = Callable[[ClassifySettings, EngineContext], EmotionClassifier]
"""Gives a classifier ready to use. Raises `EngineUnavailableError` when package or hardware is not there, `ModelError`
when the model cannot be used, and `ConfigError` when the settings do not fit it."""


def model_path(settings: ClassifySettings) -> Path:
    """The model file of the settings, or that inside this package in the precision for a CPU that they ask for.

    `auto` is INT8 where the processor has instructions for it (and where that was measured to be faster, when the
    engine opens it). FP16 is a matter of GPUs, which are given it as they want it: here it is the FP32 file.
    """
    if settings.model is not None:
        return settings.model
    is_int8 = settings.precision == "int8" or (settings.precision == "auto" and has_int8_instructions())
    return packaged_variant_path("int8" if is_int8 else "fp32")


def _open_onnxruntime(settings: ClassifySettings, context: EngineContext) -> EmotionClassifier:
    path = model_path(settings)
    if settings.model is None and settings.precision == "auto" and has_int8_instructions():
        path = _faster_variant(context)
    if path.suffix.lower() != ".onnx":
        raise ConfigError(f"no engine runs model file {path}: expected an .onnx file; set classify.model")
    return OrtClassifier(path, max_batch_size=settings.max_batch_size, num_threads=context.num_threads)


def _faster_variant(context: EngineContext) -> Path:
    """The packaged variant whose arithmetic is faster on this processor: measured once, then remembered."""
    variants: tuple[PackagedVariant, ...] = ("fp32", "int8")
    paths = {variant: path for variant in variants if (path := packaged_variant_path(variant)).is_file()}

    def classify_with(path: Path) -> Callable[[], object]:
        classifier = OrtClassifier(path, num_threads=context.num_threads)
        side = classifier.manifest.input_size_pixels
        return partial(classifier.classify, np.full((8, side, side), 128, dtype=np.uint8))

    model = "+".join(str(path.stat().st_size) for path in paths.values())
    chosen = fastest(
        {variant: partial(classify_with, path) for variant, path in paths.items()},
        key=f"classifier ({model} bytes) on {processor_name()}, onnxruntime {version('onnxruntime')}",
        cache_file=context.cache_dir / ENGINE_CHOICES_FILE,
    )
    return packaged_variant_path("int8" if chosen == "int8" else "fp32")


def _open_trt(name: TrtName, settings: ClassifySettings, context: EngineContext) -> EmotionClassifier:
    from emostream.vision.classify.trt_classifier import load_trt_classifier

    return load_trt_classifier(name, settings, cache_dir=context.cache_dir)


BUILT_IN: dict[str, EngineFactory] = {
    DEFAULT_ENGINE: _open_onnxruntime,
    **{name: partial(_open_trt, name) for name in TRT_NAMES},
}


def open_engine(name: str, settings: ClassifySettings, context: EngineContext) -> EmotionClassifier:
    """The classifier on the engine of this name; see `EngineFactory` for what it raises.

    Raises:
        ConfigError: nobody knows the name, or the package's engine cannot be loaded.
    """
    if name in BUILT_IN:
        return BUILT_IN[name](settings, context)
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        known = ", ".join(sorted({"auto", *BUILT_IN, *found}))
        raise ConfigError(f"there is no engine {name!r} (classify.engine): expected one of {known}; is it installed?")
    try:
        factory: EngineFactory = found[name].load()
    except Exception as exc:
        raise ConfigError(f"the engine {name!r} of {found[name].value} cannot be loaded: {exc}") from exc
    return factory(settings, context)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine `auto` takes here, and why the ones before it are not taken."""

    name: str
    passed_over: dict[str, str]

    def __str__(self) -> str:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.passed_over.items())
        return f"{self.name} ({reasons})" if reasons else self.name


def choose_engine() -> EngineChoice:
    """The first engine for a GPU whose package and GPU are here, else the one for CPUs."""
    passed_over: dict[str, str] = {}
    for name in TRT_NAMES:
        try:
            check_available(name)
        except EngineUnavailableError as exc:
            passed_over[name] = str(exc)
        else:
            return EngineChoice(name, passed_over)
    return EngineChoice(DEFAULT_ENGINE, passed_over)


def check_available(name: TrtName) -> str:
    """What an engine for a GPU would run on, in words.

    Raises:
        EngineUnavailableError: its package or a fitting GPU is not here.
    """
    gpu = find_gpu()  # first: without a GPU the package would be 80 MB of memory for nothing
    package = load_package(name)
    if not package.runs_on(gpu.compute_capability):
        raise EngineUnavailableError(f"does not run on {gpu}", engine=name)
    return f"version {package.version} on {gpu}"
