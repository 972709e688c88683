"""The classifier on ONNX Runtime: the default on CPUs, and the reference for all other engines."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from emostream.domain.model_manifest import ModelManifest, load_manifest
from emostream.errors import InferenceError, ManifestError
from emostream.vision.classify.classifier import EngineInfo
from emostream.vision.engines.processor import has_int8_instructions

Probabilities = npt.NDArray[np.float32]
"""float32, n×len(labels); each row is a probability distribution."""

_INPUT_TYPE, _OUTPUT_TYPE = "tensor(uint8)", "tensor(float)"
_SUM_TOLERANCE = 1e-3  # what EmotionScores allows


class OrtClassifier:
    """A model file and its manifest, run on the CPU. Thread-safe, except that `close` must not overlap `classify`."""

    def __init__(self, model_path: Path, *, max_batch_size: int | None = None, num_threads: int = 1) -> None:
        """Load the model, check it against its manifest and run it once.

        Args:
            model_path: ONNX file; its manifest lies beside it.
            max_batch_size: split batches larger than this; None means the manifest's maximum.
            num_threads: threads per call. One is best where several streams share the cores.

        Raises:
            ModelUnavailableError: the model file or its manifest does not exist.
            ManifestError: they are damaged, of another model, or do not match each other.
        """
        self._path = model_path
        self._manifest = load_manifest(model_path)
        if self._manifest.layout == "vnni" and not has_int8_instructions():
            raise ManifestError(
                f"model file {model_path} needs a processor with 8-bit dot product instructions (x86 VNNI or ARM), "
                "which this one lacks; use the FP32 variant (classify.precision: fp32), or export INT8 "
                "with --int8-layout cpu"
            )
        self._max_batch_size = min(max_batch_size or self._manifest.max_batch_size, self._manifest.max_batch_size)
        self._session: onnxruntime.InferenceSession | None = self._open_session(num_threads)
        self._check_signature(self._session)
        self._check_outputs()

    @property
    def manifest(self) -> ModelManifest:
        """The manifest of the loaded model."""
        return self._manifest

    @property
    def engine_info(self) -> EngineInfo:
        """ONNX Runtime, on the CPU."""
        return EngineInfo("onnxruntime", self._manifest.precision, "cpu")

    @property
    def wanted_batch_size(self) -> int:
        """1: on a CPU a crop costs the same in every batch (docs/decisions/0010)."""
        return 1

    def classify(self, crops: npt.NDArray[np.uint8]) -> Probabilities:
        """Probabilities of the manifest's first output, the one in events; see `EmotionClassifier.classify`."""
        return self._run(crops, self._manifest.outputs[:1])[0]

    def classify_all(self, crops: npt.NDArray[np.uint8]) -> dict[str, Probabilities]:
        """Output name → probabilities, for each output of the manifest; used by evaluation."""
        return dict(zip(self._manifest.outputs, self._run(crops, self._manifest.outputs), strict=True))

    def close(self) -> None:
        """Release the engine. Safe to call twice."""
        self._session = None

    def __enter__(self) -> Self:
        """Return the classifier; it is loaded by the constructor."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _run(self, crops: npt.NDArray[np.uint8], outputs: tuple[str, ...]) -> list[Probabilities]:
        size = self._manifest.input_size_pixels
        if crops.dtype != np.uint8 or crops.shape[1:] != (size, size):
            raise InferenceError(f"expected crops uint8 n×{size}×{size}, got {crops.dtype} {crops.shape}")
        session = self._session
        if session is None:
            raise InferenceError(f"classifier {self._manifest.name} is closed")
        if len(crops) == 0:
            return [np.empty((0, len(self._manifest.labels)), dtype=np.float32) for _ in outputs]
        batches = (crops[start : start + self._max_batch_size] for start in range(0, len(crops), self._max_batch_size))
        try:
            parts = [session.run(list(outputs), {self._manifest.input_name: batch}) for batch in batches]
        except Exception as exc:  # ONNX Runtime's exception classes are many and not public
            raise InferenceError(f"{self._manifest.name} failed on {len(crops)} crops: {_first_line(exc)}") from exc
        results = [np.concatenate(of_output) for of_output in zip(*parts, strict=True)]
        for name, result in zip(outputs, results, strict=True):
            if not np.isfinite(result).all():
                raise InferenceError(f"{self._manifest.name} returned non-finite values in output {name}")
        return results

    def _open_session(self, num_threads: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach the caller as exceptions; warnings concern the exporter
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not use a core
        try:
            return onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # as above
            raise self._misfit("an ONNX model", f"ONNX Runtime cannot read it ({_first_line(exc)})") from exc

    def _check_signature(self, session: onnxruntime.InferenceSession) -> None:
        manifest = self._manifest
        size = manifest.input_size_pixels
        inputs = {value.name: value for value in session.get_inputs()}
        if list(inputs) != [manifest.input_name]:
            raise self._misfit(f"one input {manifest.input_name!r}", f"inputs {', '.join(inputs) or 'none'}")
        given = inputs[manifest.input_name]
        if given.type != _INPUT_TYPE or len(given.shape) != 3 or _differs(given.shape[1:], (size, size)):
            raise self._misfit(f"input {_INPUT_TYPE} n×{size}×{size}", f"{given.type} {given.shape}")
        if isinstance(given.shape[0], int):
            raise self._misfit("a variable batch size", f"a fixed one of {given.shape[0]}")
        available = {value.name: value for value in session.get_outputs()}
        if missing := [name for name in manifest.outputs if name not in available]:
            raise self._misfit(f"outputs {', '.join(manifest.outputs)}", f"no output {', '.join(missing)}")
        for name in manifest.outputs:
            if available[name].type != _OUTPUT_TYPE:
                raise self._misfit(f"output {name} as {_OUTPUT_TYPE}", available[name].type)
        labels = _labels_of(session)
        if labels is not None and labels != list(manifest.labels):
            raise self._misfit(f"labels {', '.join(manifest.labels)}", ", ".join(map(str, labels)))

    def _check_outputs(self) -> None:
        """Run once: only this shows undeclared shapes and whether rows are probability distributions."""
        size = self._manifest.input_size_pixels
        try:
            by_output = self.classify_all(np.full((2, size, size), 128, dtype=np.uint8))
        except InferenceError as exc:
            raise self._misfit("a model that can be run", str(exc)) from exc
        expected = (2, len(self._manifest.labels))
        for name, result in by_output.items():
            if result.shape != expected:
                raise self._misfit(f"output {name} of shape n×{expected[1]}, one column per label", f"{result.shape}")
            if (result < 0).any() or (np.abs(result.sum(axis=1) - 1) > _SUM_TOLERANCE).any():
                raise self._misfit(f"output {name} as probabilities that sum to 1", f"{result[0].tolist()}")

    def _misfit(self, expected: str, got: str) -> ManifestError:
        return ManifestError(
            f"model file {self._path}: expected {expected}, got {got}; export the model again with "
            "`python -m training.export`, or use another model file",
        )


def _differs(shape: list[int | str | None], expected: tuple[int, ...]) -> bool:
    return any(isinstance(side, int) and side != wanted for side, wanted in zip(shape, expected, strict=True))


def _labels_of(session: onnxruntime.InferenceSession) -> list[object] | None:
    """The labels in the file's own metadata (a JSON list); None when it has none."""
    text = session.get_modelmeta().custom_metadata_map.get("labels")
    if text is None:
        return None
    try:
        labels = json.loads(text)
    except json.JSONDecodeError:
        labels = text.split(",")
    return labels if isinstance(labels, list) else [labels]


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)
