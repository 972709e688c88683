"""What a detector's decoding yields, as arrays, before it becomes faces of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emostream.detect.letterbox import Letterbox
from emostream.face import Face


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Faces in a detector's input, best score first.

    Attributes:
        boxes: float, n×4, x0, y0, x1, y1 in input pixels.
        scores: float, n, 0…1.
        landmarks: float, n×5×2, x and y in input pixels, in the order of `emostream.face.Landmarks`.
    """

    boxes: npt.NDArray[np.floating]
    scores: npt.NDArray[np.floating]
    landmarks: npt.NDArray[np.floating]

    def to_faces(self, letterbox: Letterbox) -> list[Face]:
        """The same faces in pixels of the frame; degenerate boxes and numbers that are none are left out."""
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
