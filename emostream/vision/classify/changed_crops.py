"""Chooses the crops that are worth classifying: those that changed since their face was last classified."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face

# Chosen on six clips (docs/decisions/0016): 37 to 60 % of the crops are classified, and the same emotion is dominant.
MAX_CHANGE = 0.12
"""Mean difference of the gray levels of two crops, as a share of their contrast."""
MAX_AGE_SECONDS = 0.1
"""An expression comes and goes within a fifth of a second, so no result is used for longer than half of that."""
MIN_FACE_PIXELS = 40.0
"""Smaller faces are enlarged, and their scores change with every pixel."""
_MIN_CONTRAST = 8.0
_ROUNDING_SECONDS = 1e-3  # time stamps are rounded to the container's time base


@dataclass(frozen=True, slots=True, eq=False)
class _Classified:
    crop: npt.NDArray[np.uint8]
    contrast: float
    at_seconds: float


class ChangedCrops:
    """Remembers the last classified crop of each face. One per stream; called frame by frame, in order.

    A crop is classified when its face is new, small, undecided, was last classified `MAX_AGE_SECONDS` ago, or changed:
    it turned, spoke, or its expression did.
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
                or not 0 <= pts_seconds - known.at_seconds < MAX_AGE_SECONDS - _ROUNDING_SECONDS
                or face.track_id in undecided
                or cv2.norm(crop, known.crop, cv2.NORM_L1) > MAX_CHANGE * crop.size * known.contrast
            )
            if known is None or is_due:
                _, deviation = cv2.meanStdDev(crop)
                # A copy, because the crop is a part of its whole chunk.
                known = _Classified(crop.copy(), max(float(deviation[0, 0]), _MIN_CONTRAST), pts_seconds)
            self._last[face.track_id] = known
            chosen.append(is_due)
        return chosen
