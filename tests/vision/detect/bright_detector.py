"""A detector whose faces are bright rectangles, for tests that place them where they like."""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np

from emostream.domain.face import BoxXyxy, Face
from emostream.domain.frame import Luma

SMALLEST_PIXELS = 20.0
MAX_INPUT_PIXELS = 160 * 160
BRIGHT = 200


class BrightDetector:
    """Finds rectangles that are taller than wide, as large as a real detector would need them.

    A rectangle that the border of the picture cuts is found as what is left of it. A picture of more than
    `MAX_INPUT_PIXELS` is shrunk to that, as it were, so that only larger ones are found.

    Args:
        score: of each face.
    """

    name = "bright"

    def __init__(self, *, score: float = 0.9) -> None:
        self._score = score

    def smallest_face_pixels(self, width: int, height: int) -> float:
        return SMALLEST_PIXELS * max(math.sqrt(width * height / MAX_INPUT_PIXELS), 1.0)

    def detect(self, luma: Luma) -> list[Face]:
        height, width = luma.shape
        mask = (luma > BRIGHT / 2).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:].tolist()]
        smallest = self.smallest_face_pixels(width, height)
        return [
            face_at(box, score=self._score)
            for box in boxes
            if box[3] - box[1] >= smallest and box[3] - box[1] > box[2] - box[0]
        ]


def face_at(box: tuple[float, float, float, float], *, score: float = 0.9) -> Face:
    """A face with landmarks where an upright one has them."""
    x0, y0, x1, y1 = box
    shares = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    landmarks = tuple((x0 + x * (x1 - x0), y0 + y * (y1 - y0)) for x, y in shares)
    return Face((float(x0), float(y0), float(x1), float(y1)), score, landmarks)


def picture_with(boxes: Iterable[BoxXyxy], *, width: int, height: int) -> Luma:
    """A dark picture with bright boxes."""
    luma = np.zeros((height, width), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        luma[int(y0) : int(y1), int(x0) : int(x1)] = BRIGHT
    return luma
