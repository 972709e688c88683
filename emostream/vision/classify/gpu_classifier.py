"""The classifier on GPUs, whatever engine runs there."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from emostream.domain.model_manifest import ModelManifest
from emostream.errors import InferenceError
from emostream.vision.classify.classifier import EngineInfo
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.classify.packaged_models import EngineSource
from emostream.vision.classify.parity import Parity, compare, require_parity
from emostream.vision.engines.group import GpuEngine
from emostream.vision.engines.reference_inputs import REFERENCE_MARGIN, reference_crops
from emostream.vision.engines.trt.profile import filled_up, plan_batches

Probabilities = npt.NDArray[np.float32]


class GpuClassifier:
    """A model on GPUs. Thread-safe, except that `close` must not overlap `classify`.

    Batches are split into the sizes that the engine was made for: with TensorRT, each has its own tuned kernels and one
    CUDA graph, so that a batch costs one launch. The last part is padded; results of the padding are discarded.

    Args:
        engine: on one GPU, or on each of several; closed with the classifier.
        manifest: of the model that the engine runs.
        batches: the sizes that the engine takes, ascending.
    """

    def __init__(self, engine: GpuEngine, *, manifest: ModelManifest, batches: Sequence[int]) -> None:
        self._engine = engine
        self._manifest = manifest
        self._batches = tuple(batches)

    @property
    def manifest(self) -> ModelManifest:
        """The manifest of the model."""
        return self._manifest

    @property
    def engine_info(self) -> EngineInfo:
        """The engine, and its GPU."""
        return EngineInfo(self._engine.package_name, self._manifest.precision, self._engine.gpu_name)

    @property
    def num_parallel_batches(self) -> int:
        """Calls that are worth making at the same time; see `parallel_batches`."""
        return self._engine.num_parallel_batches

    @property
    def wanted_batch_size(self) -> int:
        """The smallest batch size of the engine above 1: a GPU computes a few crops as fast as one."""
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


def prove_classifier(classifier: GpuClassifier | OrtClassifier, source: EngineSource, *, what: str) -> Parity:
    """Compare with the reference on the reference crops. Raises `ManifestError` when the difference is too large."""
    crops = reference_crops(size=source.manifest.input_size_pixels)
    with OrtClassifier(source.reference) as reference:
        expected = reference.classify_all(crops)
    answers = classifier.classify_all(crops)
    parity = compare(tuple(expected.values()), tuple(answers.values()), min_margin=REFERENCE_MARGIN)
    require_parity(parity, precision=source.manifest.precision, what=what)
    return parity
