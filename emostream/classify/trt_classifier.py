"""The classifier on TensorRT and TensorRT-RTX."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from emostream.classify.engine_source import EngineSource, engine_source
from emostream.classify.golden import GOLDEN_MARGIN, golden_crops
from emostream.classify.manifest import ModelManifest, save_manifest, sha256_of
from emostream.classify.ort_classifier import OrtClassifier
from emostream.classify.parity import Parity, compare, require_parity
from emostream.config import ClassifySettings
from emostream.errors import EngineUnavailableError, InferenceError
from emostream.trt.compile import (
    EngineRecipe,
    Progress,
    compiled_engine,
    gpu_here,
    keep_runtime_cache,
    open_engine,
)
from emostream.trt.cuda import Gpu, find_gpu
from emostream.trt.engine import TrtEngine
from emostream.trt.engine_cache import CachedEngine, EngineCache
from emostream.trt.package import TrtName, TrtPackage, load_package
from emostream.trt.profile import fixed, plan_batches

logger = logging.getLogger(__name__)

Probabilities = npt.NDArray[np.float32]


class TrtClassifier:
    """A compiled model on the GPU. Thread-safe; `close` must not race with `classify`.

    A batch is cut into the sizes that the engine was compiled for. Each has kernels chosen for exactly that size and
    one CUDA graph, so that a batch costs one launch; empty places of the last one are computed and thrown away.

    Args:
        engine: closed with the classifier.
        manifest: of the model it was compiled from.
        batches: the sizes of its profiles, in growing order.
    """

    def __init__(self, engine: TrtEngine, *, manifest: ModelManifest, batches: Sequence[int]) -> None:
        self._engine = engine
        self._manifest = manifest
        self._batches = tuple(batches)

    @property
    def manifest(self) -> ModelManifest:
        """The contract of the model."""
        return self._manifest

    @property
    def wanted_batch_size(self) -> int:
        """See `EmotionClassifier.wanted_batch_size`: a GPU computes a few crops as fast as one."""
        return next((size for size in self._batches if size > 1), 1)

    def classify(self, crops: npt.NDArray[np.uint8]) -> Probabilities:
        """Probabilities by the manifest's first output, what events carry; see `EmotionClassifier`."""
        return self.classify_all(crops)[self._manifest.outputs[0]]

    def classify_all(self, crops: npt.NDArray[np.uint8]) -> dict[str, Probabilities]:
        """Probabilities by each output of the manifest, for comparison."""
        size = self._manifest.input_size_pixels
        if crops.dtype != np.uint8 or crops.shape[1:] != (size, size):
            raise InferenceError(f"expected crops uint8 n×{size}×{size}, got {crops.dtype} {crops.shape}")
        results = {
            name: np.empty((len(crops), len(self._manifest.labels)), np.float32) for name in self._manifest.outputs
        }
        start = 0
        for bucket in plan_batches(len(crops), self._batches):
            rows = min(bucket, len(crops) - start)
            outputs = self._engine.run(_padded(crops[start : start + rows], bucket))
            for name, result in results.items():
                result[start : start + rows] = outputs[name][:rows]
            start += rows
        for name, result in results.items():
            if not np.isfinite(result).all():
                raise InferenceError(f"{self._manifest.name} gave values that are not finite in output {name}")
        return results

    def close(self) -> None:
        """Release the engine. Safe to call twice."""
        self._engine.close()

    def __enter__(self) -> Self:
        """Loaded already."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _padded(crops: npt.NDArray[np.uint8], bucket: int) -> npt.NDArray[np.uint8]:
    if len(crops) == bucket:
        return crops
    batch = np.zeros((bucket, *crops.shape[1:]), np.uint8)
    batch[: len(crops)] = crops
    return batch


@dataclass(frozen=True, slots=True)
class CompileReport:
    """What was compiled, and how it was shown to be right.

    Attributes:
        path: of the engine.
        size_bytes: of its file.
        precision: of its arithmetic.
        batches: sizes it was compiled for.
        target: what it runs on.
        source_parity: distance of the model that was compiled from its reference, both in ONNX Runtime; None when the
            export has proved it.
        engine_parity: distance of the engine from the reference; None without a GPU.
    """

    path: Path
    size_bytes: int
    precision: str
    batches: tuple[int, ...]
    target: str
    source_parity: Parity | None
    engine_parity: Parity | None


def compile_classifier(
    name: TrtName, settings: ClassifySettings, *, cache_dir: Path, progress: Progress = logger.info
) -> CompileReport:
    """Compile the classifier of the settings and prove it, as far as this machine can.

    Raises:
        EngineUnavailableError: the package is not installed, or it needs a GPU that is not there.
        ModelError: the model cannot be used, or the engine answers differently from its reference.
        ConfigError: settings that do not fit the model.
    """
    package, cache, gpu = load_package(name), EngineCache(cache_dir), gpu_here()
    source = engine_source(settings)
    recipe = _recipe(source, settings)
    source_parity = _prove_source(source) if source.is_derived else None
    if gpu is None or not package.runs_on(gpu.compute_capability):
        stored, engine_parity = compiled_engine(recipe, package, cache, gpu=gpu, progress=progress), None
    else:
        stored, classifier = _open_proved(recipe, source, package, cache, gpu=gpu, progress=progress)
        classifier.close()
        engine_parity = Parity(**(stored.proof_on(gpu) or {}))
    return CompileReport(
        path=stored.path,
        size_bytes=len(stored.content),
        precision=recipe.precision,
        batches=tuple(profile.best[0] for profile in recipe.profiles),
        target=stored.details["key"]["target"],
        source_parity=source_parity,
        engine_parity=engine_parity,
    )


def load_trt_classifier(name: TrtName, settings: ClassifySettings, *, cache_dir: Path) -> TrtClassifier:
    """The classifier of the settings on the GPU; compiled first where it is not in the cache.

    Raises:
        EngineUnavailableError: package or GPU is missing.
        ModelError: the model cannot be used, or the engine answers differently from its reference.
        ConfigError: settings that do not fit the model.
    """
    package, gpu = load_package(name), find_gpu()
    if not package.runs_on(gpu.compute_capability):
        raise EngineUnavailableError(f"{name} does not run on {gpu}; use tensorrt", engine=name)
    source = engine_source(settings)
    recipe = _recipe(source, settings)
    _, classifier = _open_proved(recipe, source, package, EngineCache(cache_dir), gpu=gpu, progress=logger.info)
    return classifier


def _recipe(source: EngineSource, settings: ClassifySettings) -> EngineRecipe:
    """One profile for each batch size, of exactly that size.

    A single profile from 1 to the largest size would be tuned for one size in the middle, and every batch would be a
    shape of its own to record a graph for. The weights are shared, so that further profiles cost little.
    """
    size, allowed = source.manifest.input_size_pixels, source.manifest.max_batch_size
    batches = sorted({min(batch, allowed) for batch in settings.batches})
    profiles = tuple(fixed((batch, size, size)) for batch in batches)
    return EngineRecipe(source.manifest.name, source.onnx_model, source.manifest.precision, profiles)


def _open_proved(
    recipe: EngineRecipe,
    source: EngineSource,
    package: TrtPackage,
    cache: EngineCache,
    *,
    gpu: Gpu,
    progress: Progress,
) -> tuple[CachedEngine, TrtClassifier]:
    """Open the engine; the first time on a GPU compare it with ONNX Runtime, and use it only if it matches."""
    stored, engine = open_engine(recipe, package, cache, gpu=gpu, progress=progress)
    batches = tuple(profile.best[0] for profile in recipe.profiles)
    classifier = TrtClassifier(engine, manifest=source.manifest, batches=batches)
    try:
        if stored.proof_on(gpu) is None:
            parity = _prove(classifier, source, what=f"the {package.name} engine {stored.path}")
            stored = cache.add_proof(stored, gpu, dataclasses.asdict(parity))
            keep_runtime_cache(recipe, package, cache, gpu=gpu, engine=engine)
    except BaseException:
        classifier.close()
        raise
    return stored, classifier


def _prove(classifier: TrtClassifier | OrtClassifier, source: EngineSource, *, what: str) -> Parity:
    """Compare with the reference on the golden crops; raises `ManifestError` when it does not match."""
    crops = golden_crops(size=source.manifest.input_size_pixels)
    with OrtClassifier(source.reference) as reference:
        expected = reference.classify_all(crops)
    answers = classifier.classify_all(crops)
    parity = compare(tuple(expected.values()), tuple(answers.values()), min_margin=GOLDEN_MARGIN)
    require_parity(parity, precision=source.manifest.precision, what=what)
    return parity


def _prove_source(source: EngineSource) -> Parity:
    """Compare the model that is compiled with what it was made from, both in ONNX Runtime."""
    with tempfile.TemporaryDirectory(prefix="emostream-") as folder:
        path = Path(folder) / source.reference.name
        path.write_bytes(source.onnx_model)
        save_manifest(source.manifest.model_copy(update={"sha256": sha256_of(path)}), model_path=path)
        with OrtClassifier(path) as converted:
            return _prove(converted, source, what=f"the {source.manifest.precision} form of {source.reference}")
