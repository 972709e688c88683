"""Chooses the crops that are worth classifying: those that changed since their face was last classified."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face

# Chosen on six clips of 12 to 30 frames per second (docs/decisions/0014-classify-what-changed.md).
MAX_CHANGE = 0.12
"""Mean difference of the gray levels of two crops, as a share of their contrast."""
SURE_SECONDS = 0.1
"""A result is used for this long, whatever the frame rate."""
MAX_REUSED = 2
"""After that, it is used for this number of frames at most."""
MAX_AGE_SECONDS = 0.2
"""No result is used for longer: expressions last half a second and more, but begin and end faster."""
MIN_FACE_PIXELS = 40.0
"""Smaller faces are enlarged, and their scores change with every pixel."""
_MIN_CONTRAST = 8.0
_ROUNDING_SECONDS = 1e-3  # time stamps are rounded to the container's time base


@dataclass(slots=True, eq=False)
class _Classified:
    crop: npt.NDArray[np.uint8]
    contrast: float
    at_seconds: float
    num_reused: int = 0

    def is_old(self, pts_seconds: float) -> bool:
        """Whether the result is too old for the next frame."""
        age = pts_seconds - self.at_seconds + _ROUNDING_SECONDS
        return age < 0 or age >= MAX_AGE_SECONDS or (age >= SURE_SECONDS and self.num_reused >= MAX_REUSED)


class ChangedCrops:
    """Remembers the last classified crop of each face. One per stream; called frame by frame, in order.

    A crop is classified when its face is new, small or undecided, when its last result is old, or when it changed: the
    head turned, it spoke, or its expression did.
    """

    def __init__(self) -> None:
        self._last: dict[int | None, _Classified] = {}

    def choose(
        self,
        faces: Sequence[Face],
        crops: npt.NDArray[np.uint8],
        *,
        pts_seconds: float,
        undecided: Collection[int | None] = (),
    ) -> list[bool]:
        """Which faces of the next frame to classify.

        Args:
            faces: with track ids.
            crops: uint8, n×S×S, their crops.
            pts_seconds: time of the frame.
            undecided: tracks whose dominant emotion may change with the next crop.
        """
        last, self._last = self._last, {}
        chosen = []
        for face, crop in zip(faces, crops, strict=True):
            known = last.get(face.track_id)
            is_due = (
                known is None
                or face.height < MIN_FACE_PIXELS
                or known.is_old(pts_seconds)
                or face.track_id in undecided
                or cv2.norm(crop, known.crop, cv2.NORM_L1) > MAX_CHANGE * crop.size * known.contrast
            )
            if known is None or is_due:
                _, deviation = cv2.meanStdDev(crop)
                # A copy, because the crop is a part of its whole chunk.
                known = _Classified(crop.copy(), max(float(deviation[0, 0]), _MIN_CONTRAST), pts_seconds)
            else:
                known.num_reused += 1
            self._last[face.track_id] = known
            chosen.append(is_due)
        return chosen
