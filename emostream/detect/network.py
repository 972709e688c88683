"""The role of a detector's network: what computes its maps, wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class DetectorNetwork(Protocol):
    """Computes outputs for pictures. Called from worker threads, possibly several at once."""

    def check(self, *, input_name: str | None, output_names: Sequence[str]) -> None:
        """Raise `ManifestError` unless there is one input (of this name, if given) and these outputs."""
        ...

    def run(self, pictures: npt.NDArray[Any], *, output_names: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """The outputs for one batch; raises `InferenceError`."""
        ...
