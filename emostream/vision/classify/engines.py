"""Finds inference engines by name: built-in ones and plugins (entry points of group `emostream.engines`)."""

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
"""Entry point group in which packages register engines: name = factory."""

DEFAULT_ENGINE = "onnxruntime"
"""Runs on every CPU."""


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What an engine factory receives besides the settings.

    Attributes:
        num_threads: threads per batch, for engines on CPUs.
        cache_dir: folder in which an engine may keep compiled models.
    """

    num_threads: int
    cache_dir: Path


EngineFactory = Callable[[ClassifySettings, EngineContext], EmotionClassifier]
"""Returns a classifier that is ready to use. Raises `EngineUnavailableError` when its package or hardware is missing,
`ModelError` when the model cannot be used, and `ConfigError` when the settings do not fit the model."""


def model_path(settings: ClassifySettings) -> Path:
    """The model file named by the settings, or the packaged variant for the requested precision on a CPU.

    With precision `auto` this is INT8 where the processor has instructions for it; `open_engine` also measures whether
    it is faster. FP16 is for GPUs, whose engines convert the model themselves: here it means the FP32 file.
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
    """The packaged variant that is faster on this processor; measured once, then read from the cache."""
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
    """Open the engine of this name.

    Raises:
        ConfigError: the name is unknown, or the plugin cannot be loaded.
        EngineUnavailableError, ModelError: see `EngineFactory`.
    """
    if name in BUILT_IN:
        return BUILT_IN[name](settings, context)
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        known = ", ".join(sorted({"auto", *BUILT_IN, *found}))
        raise ConfigError(f"unknown classify.engine {name!r}: expected one of {known}; is its package installed?")
    try:
        factory: EngineFactory = found[name].load()
    except Exception as exc:
        raise ConfigError(f"cannot load engine {name!r} from {found[name].value}: {exc}") from exc
    return factory(settings, context)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine that `auto` selects on this machine, and why the preferred ones were skipped.

    Attributes:
        name: the selected engine.
        passed_over: engine → why it cannot be used here.
    """

    name: str
    passed_over: dict[str, str]

    def __str__(self) -> str:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.passed_over.items())
        return f"{self.name} ({reasons})" if reasons else self.name


def choose_engine() -> EngineChoice:
    """Select the first GPU engine whose package and GPU are present, else ONNX Runtime on the CPU."""
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
    """Check that a GPU engine can run here, and describe what it would run on.

    Raises:
        EngineUnavailableError: its package or a supported GPU is missing.
    """
    gpu = find_gpu()  # first, because importing the package takes 80 MB of memory
    package = load_package(name)
    if not package.runs_on(gpu.compute_capability):
        raise EngineUnavailableError(f"does not run on {gpu}", engine=name)
    return f"version {package.version} on {gpu}"
