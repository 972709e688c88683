"""The classifier on TensorRT and TensorRT-RTX."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from emostream.config import ClassifySettings
from emostream.domain.model_manifest import ModelManifest, save_manifest, sha256_of
from emostream.errors import InferenceError
from emostream.vision.classify.classifier import EngineInfo
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.classify.packaged_models import PackagedModel, engine_source
from emostream.vision.classify.parity import Parity, compare, require_parity
from emostream.vision.engines.reference_inputs import REFERENCE_MARGIN, reference_crops
from emostream.vision.engines.trt.compile import (
    CompileReport,
    EngineRecipe,
    Progress,
    Proof,
    compile_engine,
    open_engines,
)
from emostream.vision.engines.trt.engine import NUM_LANES, TrtEngine
from emostream.vision.engines.trt.group import EngineGroup
from emostream.vision.engines.trt.package import TrtName
from emostream.vision.engines.trt.profile import filled_up, fixed, plan_batches

logger = logging.getLogger(__name__)

Probabilities = npt.NDArray[np.float32]


class TrtClassifier:
    """A compiled model on the GPU. Thread-safe, except that `close` must not overlap `classify`.

    Batches are split into the sizes that the engine was compiled for. Each size has its own tuned kernels and one CUDA
    graph, so that a batch costs one launch. The last part is padded; results of the padding are discarded.

    Args:
        engine: on one GPU, or on each of several; closed with the classifier.
        manifest: of the model that the engine was compiled from.
        batches: the batch sizes of its profiles, ascending.
    """

    def __init__(self, engine: TrtEngine | EngineGroup, *, manifest: ModelManifest, batches: Sequence[int]) -> None:
        self._engine = engine
        self._manifest = manifest
        self._batches = tuple(batches)

    @property
    def manifest(self) -> ModelManifest:
        """The manifest of the model."""
        return self._manifest

    @property
    def engine_info(self) -> EngineInfo:
        """The package that compiled the engine, and its GPU."""
        return EngineInfo(self._engine.package_name, self._manifest.precision, self._engine.gpu_name)

    @property
    def num_parallel_batches(self) -> int:
        """Calls that are worth making at the same time; see `parallel_batches`."""
        return self._engine.num_parallel_batches if isinstance(self._engine, EngineGroup) else NUM_LANES

    @property
    def wanted_batch_size(self) -> int:
        """The smallest compiled batch size above 1: a GPU computes a few crops as fast as one."""
        return next((size for size in self._batches if size > 1), 1)

    def classify(self, crops: npt.NDArray[np.uint8]) -> Probabilities:
        """Probabilities of the manifest's first output, the one in events; see `EmotionClassifier.classify`."""
        return self.classify_all(crops)[self._manifest.outputs[0]]

    def classify_all(self, crops: npt.NDArray[np.uint8]) -> dict[str, Probabilities]:
        """Output name → probabilities, for each output of the manifest; used for comparison."""
        size = self._manifest.input_size_pixels
        if crops.dtype != np.uint8 or crops.shape[1:] != (size, size):
            raise InferenceError(f"expected crops uint8 n×{size}×{size}, got {crops.dtype} {crops.shape}")
        results = {
            name: np.empty((len(crops), len(self._manifest.labels)), np.float32) for name in self._manifest.outputs
        }
        start = 0
        for bucket in plan_batches(len(crops), self._batches):
            rows = min(bucket, len(crops) - start)
            outputs = self._engine.run(filled_up(crops[start : start + rows], bucket))
            for name, result in results.items():
                result[start : start + rows] = outputs[name][:rows]
            start += rows
        for name, result in results.items():
            if not np.isfinite(result).all():
                raise InferenceError(f"{self._manifest.name} returned non-finite values in output {name}")
        return results

    def close(self) -> None:
        """Release the engine. Safe to call twice."""
        self._engine.close()

    def __enter__(self) -> Self:
        """Return the classifier; it is loaded by the constructor."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def compile_classifier(
    name: TrtName, settings: ClassifySettings, *, cache_dir: Path, progress: Progress = logger.info
) -> CompileReport:
    """Compile the classifier that the settings name and verify the engine, as far as this machine can.

    Raises:
        EngineUnavailableError: the package is not installed, or needs a GPU that is missing.
        ModelError: the model cannot be used, or the engine's results differ from the reference.
        ConfigError: the settings do not fit the model.
    """
    source = engine_source(settings)
    recipe = _recipe(source, settings)
    return compile_engine(
        name,
        recipe,
        cache_dir=cache_dir,
        prove=partial(_prove_engine, source, recipe),
        source_proof=asdict(_prove_source(source)) if source.is_derived else None,
        progress=progress,
    )


def load_trt_classifier(name: TrtName, settings: ClassifySettings, *, cache_dir: Path) -> TrtClassifier:
    """Open the classifier that the settings name on all GPUs of this process; compile it first where it is missing.

    Raises:
        EngineUnavailableError: the package or a GPU is missing.
        ModelError: the model cannot be used, or the engine's results differ from the reference.
        ConfigError: the settings do not fit the model.
    """
    source = engine_source(settings)
    recipe = _recipe(source, settings)
    engines = open_engines(name, recipe, cache_dir=cache_dir, prove=partial(_prove_engine, source, recipe))
    return TrtClassifier(engines, manifest=source.manifest, batches=_batches(recipe))


def _recipe(source: PackagedModel, settings: ClassifySettings) -> EngineRecipe:
    """One profile per batch size, each for exactly that size.

    A single profile from 1 to the largest size would be tuned for one size in the middle, and every batch size would
    need a graph of its own anyway. Profiles share the weights, so further ones cost little memory.
    """
    size, allowed = source.manifest.input_size_pixels, source.manifest.max_batch_size
    batches = sorted({min(batch, allowed) for batch in settings.batches})
    profiles = tuple(fixed((batch, size, size)) for batch in batches)
    return EngineRecipe(source.manifest.name, source.onnx_model, source.manifest.precision, profiles)


def _batches(recipe: EngineRecipe) -> tuple[int, ...]:
    return tuple(profile.best[0] for profile in recipe.profiles)


def _prove_engine(source: PackagedModel, recipe: EngineRecipe, engine: TrtEngine) -> Proof:
    """Compare an engine with ONNX Runtime."""
    classifier = TrtClassifier(engine, manifest=source.manifest, batches=_batches(recipe))
    return asdict(_prove(classifier, source, what=f"the {source.manifest.precision} engine of {source.reference}"))


def _prove_source(source: PackagedModel) -> Parity:
    """Compare the converted model with the model that it was converted from, both in ONNX Runtime."""
    with tempfile.TemporaryDirectory(prefix="emostream-") as folder:
        path = Path(folder) / source.reference.name
        path.write_bytes(source.onnx_model)
        save_manifest(source.manifest.model_copy(update={"sha256": sha256_of(path)}), model_path=path)
        with OrtClassifier(path) as converted:
            return _prove(converted, source, what=f"the {source.manifest.precision} variant of {source.reference}")


def _prove(classifier: TrtClassifier | OrtClassifier, source: PackagedModel, *, what: str) -> Parity:
    """Compare with the reference on the reference crops. Raises `ManifestError` when the difference is too large."""
    crops = reference_crops(size=source.manifest.input_size_pixels)
    with OrtClassifier(source.reference) as reference:
        expected = reference.classify_all(crops)
    answers = classifier.classify_all(crops)
    parity = compare(tuple(expected.values()), tuple(answers.values()), min_margin=REFERENCE_MARGIN)
    require_parity(parity, precision=source.manifest.precision, what=what)
    return parity
