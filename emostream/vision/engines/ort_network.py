"""A detector's network in ONNX Runtime, with this package's checks and errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from emostream.errors import InferenceError, ManifestError


class OrtNetwork:
    """An ONNX model on the CPU. `run` may be called from several threads at once.

    Args:
        model: the file, or its content where it was changed after reading.
        path: the file named in error messages.
        kind: what the file should be, for error messages.
        num_threads: threads per call. One is best where several streams share the cores.
    """

    def __init__(self, model: Path | bytes, *, path: Path, kind: str, num_threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach the caller as exceptions; warnings concern the exporter
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not use a core
        self._path = path
        self._kind = kind
        try:
            self._session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # ONNX Runtime's exception classes are many and not public
            raise self.misfit(f"ONNX Runtime cannot read it ({_first_line(exc)})") from exc

    def misfit(self, got: str) -> ManifestError:
        """The error for a file that is not the expected model."""
        return ManifestError(
            f"model file {self._path}: expected {self._kind}, but {got}; pull the model again or use another file"
        )

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        return [value.name for value in self._session.get_inputs()]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return [value.name for value in self._session.get_outputs()]

    @property
    def input_shape(self) -> list[int | str | None]:
        """Sides of the first input: a number where fixed, a name or None where variable."""
        return list(self._session.get_inputs()[0].shape)

    def check(self, *, input_name: str | None, output_names: Sequence[str]) -> None:
        """Raise `ManifestError` unless the file has one input (of this name, if given) and these outputs."""
        if len(self.input_names) != 1 or (input_name is not None and self.input_names != [input_name]):
            raise self.misfit(f"its inputs are {', '.join(self.input_names)}")
        if missing := [name for name in output_names if name not in self.output_names]:
            raise self.misfit(f"it has no output {', '.join(missing)} (it has {', '.join(self.output_names)})")

    def run(self, pictures: npt.NDArray[Any], *, output_names: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """Run the network on one batch.

        Args:
            pictures: as the network's input declares.
            output_names: the outputs to return, in this order.

        Raises:
            InferenceError: the network could not be run.
        """
        try:
            return list(self._session.run(list(output_names), {self.input_names[0]: pictures}))
        except Exception as exc:  # as above
            raise InferenceError(f"{self._kind} failed on input {pictures.shape}: {_first_line(exc)}") from exc


def _first_line(exc: Exception) -> str:
    return str(exc).strip().split("\n")[0]
