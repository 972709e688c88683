"""A detector's network in ONNX Runtime: opened, checked and run with this package's errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from emostream.errors import InferenceError, ManifestError


class OrtNetwork:
    """One ONNX file on the CPU. `run` may be called from several threads at once.

    Args:
        model: the file, or its content where it was changed on the way.
        path: the file the messages name.
        kind: what the file should be, for the messages.
        num_threads: threads per call. One is best where several streams share the cores.
    """

    def __init__(self, model: Path | bytes, *, path: Path, kind: str, num_threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach the caller as exceptions; warnings speak of the exporter
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not burn a core
        self._path = path
        self._kind = kind
        try:
            self._session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # ONNX Runtime's own classes are many and not public
            raise self.misfit(f"ONNX Runtime cannot read it ({_first_line(exc)})") from exc

    def misfit(self, got: str) -> ManifestError:
        """The error that says this file is not what was expected."""
        return ManifestError(
            f"model file {self._path}: expected {self._kind}, but {got}; pull the model again or name another file"
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
        """Sides of the first input: a number where fixed, a name or None where free."""
        return list(self._session.get_inputs()[0].shape)

    def check(self, *, input_name: str | None, output_names: Sequence[str]) -> None:
        """Raise `ManifestError` unless the file has one input (of this name, if given) and these outputs."""
        if len(self.input_names) != 1 or (input_name is not None and self.input_names != [input_name]):
            raise self.misfit(f"its inputs are {', '.join(self.input_names)}")
        if missing := [name for name in output_names if name not in self.output_names]:
            raise self.misfit(f"it has no output {', '.join(missing)} (it has {', '.join(self.output_names)})")

    def run(self, pictures: npt.NDArray[Any], *, output_names: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """The outputs for one batch.

        Raises:
            InferenceError: the network could not be computed.
        """
        try:
            return list(self._session.run(list(output_names), {self.input_names[0]: pictures}))
        except Exception as exc:  # as above
            raise InferenceError(f"{self._kind} failed on input {pictures.shape}: {_first_line(exc)}") from exc


def _first_line(exc: Exception) -> str:
    return str(exc).strip().split("\n")[0]
