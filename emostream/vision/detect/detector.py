"""The interface of a face detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.detect.letterbox import Letterbox


class FaceDetector(Protocol):
    """Finds faces in a gray picture.

    Called by the pipeline from worker threads, possibly several at once, so `detect` must be thread-safe. It may block
    for the duration of one inference and must not keep a reference to the picture.
    """

    @property
    def name(self) -> str:
        """Short name for logs and reports."""
        ...

    def detect(self, luma: Luma) -> list[Face]:
        """Find faces.

        Args:
            luma: gray picture, uint8, H×W, full or limited range.

        Returns:
            The faces, best score first, with boxes and landmarks in pixels of the picture; empty when there are none.

        Raises:
            InferenceError: this picture could not be searched.
        """
        ...


@runtime_checkable
class SizedDetector(Protocol):
    """A detector that says which faces are too small for it; optional, but those in this package do."""

    def smallest_face_pixels(self, width: int, height: int) -> float:
        """Height in pixels of the smallest face that it reliably finds in a picture of this size."""
        ...


def smallest_face_pixels(detector: FaceDetector, width: int, height: int) -> float | None:
    """Height of the smallest face that a detector reliably finds in a picture of this size, if it says so."""
    return detector.smallest_face_pixels(width, height) if isinstance(detector, SizedDetector) else None


def close_detector(detector: FaceDetector) -> None:
    """Release what a detector holds outside Python, such as memory of a GPU; those with a method `close` have some."""
    close = getattr(detector, "close", None)
    if close is not None:
        close()


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Faces in a detector's input, best score first.

    Attributes:
        boxes: float, n×4, x0, y0, x1, y1 in input pixels.
        scores: float, n, 0…1.
        landmarks: float, n×5×2, x and y in input pixels, in the order of `emostream.domain.face.Landmarks`.
    """

    boxes: npt.NDArray[np.floating]
    scores: npt.NDArray[np.floating]
    landmarks: npt.NDArray[np.floating]

    def to_faces(self, letterbox: Letterbox) -> list[Face]:
        """The faces in pixels of the frame. Degenerate boxes and non-finite values are left out."""
        boxes = letterbox.to_frame(self.boxes)
        landmarks = letterbox.to_frame(self.landmarks)
        is_finite = np.isfinite(boxes).all(axis=1) & np.isfinite(landmarks).all(axis=(1, 2))
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return [
            Face(
                box_xyxy=tuple(boxes[index].tolist()),
                score=float(self.scores[index]),
                landmarks=tuple((x, y) for x, y in landmarks[index].tolist()),
            )
            for index in np.flatnonzero(is_finite & has_area)
        ]


class DetectorNetwork(Protocol):
    """Runs a detector's network on pictures. Called from worker threads, possibly several at once."""

    def check(self, *, input_name: str | None, output_names: Sequence[str]) -> None:
        """Raise `ManifestError` unless the network has one input (of this name, if given) and these outputs."""
        ...

    def run(self, pictures: npt.NDArray[Any], *, output_names: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """Run the network on one batch and return the named outputs. Raises `InferenceError`."""
        ...
