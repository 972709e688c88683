"""A network in ONNX Runtime, computed by the calling thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from emostream.errors import InferenceError, ManifestError


class Network:
    """An ONNX model of the sound. Thread-safe.

    Args:
        path: its file.
        inputs, outputs: the names that it must have.

    Raises:
        ManifestError: the file is no such model.
    """

    def __init__(self, path: Path, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach the caller as exceptions
        self._path = path
        self._outputs = list(outputs)
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # ONNX Runtime's exception classes are many and not public
            raise self._misfit(f"ONNX Runtime cannot read it ({str(exc).splitlines()[0]})") from exc
        found_in = [item.name for item in self._session.get_inputs()]
        found_out = [item.name for item in self._session.get_outputs()]
        if missing := [name for name in (*inputs, *outputs) if name not in (*found_in, *found_out)]:
            raise self._misfit(f"it has no {', '.join(missing)}")

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """The outputs, in the order of their names.

        Raises:
            InferenceError: it cannot be computed.
        """
        try:
            computed: list[npt.NDArray[Any]] = self._session.run(self._outputs, dict(inputs))
        except Exception as exc:
            raise InferenceError(f"{self._path.name} cannot be computed: {str(exc).splitlines()[0]}") from exc
        return computed

    def _misfit(self, got: str) -> ManifestError:
        return ManifestError(f"model file {self._path}: expected a model of the voice, but {got}; install it again")
