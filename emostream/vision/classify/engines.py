"""Finds inference engines by name: built-in ones and plugins (entry points of group `emostream.engines`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import cast

import numpy as np

from emostream.config import ClassifySettings
from emostream.errors import ConfigError, EngineUnavailableError, ModelError
from emostream.vision.classify.classifier import EmotionClassifier
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.classify.packaged_models import PackagedVariant, packaged_variant_path
from emostream.vision.engines.fastest import (
    ENGINE_CHOICES_FILE,
    fastest,
    median_milliseconds,
    remember_choice,
    remembered_choices,
)
from emostream.vision.engines.ort_gpu import ORT_GPU_NAMES, OrtGpuName, check_ort_gpu
from emostream.vision.engines.processor import has_int8_instructions, processor_name
from emostream.vision.engines.trt.cuda import find_gpus
from emostream.vision.engines.trt.package import TRT_NAMES, TrtName, load_package

logger = logging.getLogger(__name__)

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


def _open_ort_gpu(name: OrtGpuName, settings: ClassifySettings, context: EngineContext) -> EmotionClassifier:
    from emostream.vision.classify.ort_gpu_classifier import load_ort_gpu_classifier

    return load_ort_gpu_classifier(name, settings, cache_dir=context.cache_dir)


BUILT_IN: dict[str, EngineFactory] = {
    DEFAULT_ENGINE: _open_onnxruntime,
    **{name: partial(_open_trt, name) for name in TRT_NAMES},
    **{name: partial(_open_ort_gpu, name) for name in ORT_GPU_NAMES},
}

GPU_ENGINES = (*TRT_NAMES, *ORT_GPU_NAMES)
"""Built-in engines that need a GPU, in order of preference where none was measured."""


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
    """The engines that `auto` takes on this machine, and why the preferred ones were skipped.

    Attributes:
        candidates: those to take, in order of preference; the last runs on the CPU.
        passed_over: engine → why it cannot be used here.
    """

    candidates: tuple[str, ...]
    passed_over: dict[str, str]

    @property
    def name(self) -> str:
        """The preferred one; of several on a GPU, `open_fastest` takes the one measured to be the fastest."""
        return self.candidates[0]

    def __str__(self) -> str:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.passed_over.items())
        return f"{self.name} ({reasons})" if reasons else self.name


def choose_engine() -> EngineChoice:
    """Select the GPU engines whose package and GPU are present, then ONNX Runtime on the CPU."""
    passed_over: dict[str, str] = {}
    for name in GPU_ENGINES:
        try:
            check_available(name)
        except EngineUnavailableError as exc:
            passed_over[name] = str(exc)
    usable = [name for name in GPU_ENGINES if name not in passed_over]
    return EngineChoice((*usable, DEFAULT_ENGINE), passed_over)


def check_available(name: str) -> str:
    """Check that a GPU engine can run here, and describe what it would run on.

    Raises:
        EngineUnavailableError: its package or a supported GPU is missing.
    """
    if name in ORT_GPU_NAMES:
        return check_ort_gpu(name)
    gpus = find_gpus()  # first, because importing the package takes 80 MB of memory
    package = load_package(cast("TrtName", name))
    usable = [gpu for gpu in gpus if package.runs_on(gpu.compute_capability)]
    if not usable:
        raise EngineUnavailableError(f"does not run on {gpus[0]}", engine=package.name)
    return f"version {package.version} on {', '.join(map(str, usable))}"


def open_fastest(names: Sequence[str], settings: ClassifySettings, context: EngineContext) -> EmotionClassifier:
    """Open the engine that is the fastest on this GPU; measured once, then read from the cache.

    An engine that cannot be opened is left out, with a warning.

    Raises:
        ModelError, ConfigError: that of the first engine, where none can be opened.
    """
    cache_file = context.cache_dir / ENGINE_CHOICES_FILE
    key = _choice_key(names, settings)
    failures: dict[str, Exception] = {}

    def opened(name: str) -> EmotionClassifier | None:
        try:
            return open_engine(name, settings, context)
        except (ModelError, ConfigError) as exc:
            failures[name] = exc
            logger.warning("engine %s cannot be used: %s", name, exc)
            return None

    measured = remembered_choices(cache_file).get(key, {})
    if set(measured) != set(names) and len(names) > 1:
        measured = {}
        for name in names:
            if (classifier := opened(name)) is not None:
                measured[name] = _milliseconds(classifier, num_crops=settings.max_batch_size)
                classifier.close()
        remember_choice(cache_file, key, measured)
    ranked = sorted((name for name in names if name not in failures), key=lambda name: measured.get(name, 0.0))
    for name in ranked:
        if (classifier := opened(name)) is not None:
            logger.info(
                "using engine %s; measured milliseconds for %d crops: %s", name, settings.max_batch_size, measured
            )
            return classifier
    raise failures[names[0]]


def _milliseconds(classifier: EmotionClassifier, *, num_crops: int) -> float:
    side = classifier.manifest.input_size_pixels
    return median_milliseconds(partial(classifier.classify, np.full((num_crops, side, side), 128, dtype=np.uint8)))


def fastest_known(choice: EngineChoice, settings: ClassifySettings, *, cache_dir: Path) -> str:
    """The engine that `auto` takes: of several on a GPU the fastest, or the preferred one while none was measured."""
    names = choice.candidates[:-1]
    if len(names) < 2:
        return choice.name
    measured = remembered_choices(cache_dir / ENGINE_CHOICES_FILE).get(_choice_key(names, settings))
    return min(measured, key=measured.__getitem__) if measured else choice.name


def _choice_key(names: Sequence[str], settings: ClassifySettings) -> str:
    versions = ", ".join(f"{name} {check_available(name)}" for name in names)
    model = "packaged" if settings.model is None else settings.model.name
    return f"classifier {model} {settings.precision}, {settings.max_batch_size} crops: {versions}"
