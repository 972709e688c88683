"""Pure: what changed in the picture as a whole, seen on thumbnails."""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np

from emostream.face import Face
from emostream.frame import Luma
from emostream.halving import halved

_MAX_THUMBNAIL_SIDE = 48
_LARGE_SIDE = 1280  # from here on every fourth pixel of every fourth row is enough: what costs is reading them

# Neighbouring frames of the test clips correlate by 0.98 and more, frames of different clips by 0.55 and less.
_MIN_CORRELATION = 0.7
_STILL_LEVELS = 4.0  # mean difference in gray levels below which two pictures show the same
_FLAT_DEVIATION = 2.0  # gray levels; a thumbnail flatter than this has nothing to compare

_CHANGED_LEVELS = 24  # well above noise and the flicker of light
_MIN_CHANGED_SHARE = 0.015  # a face of an eighth of the picture's height
_FACE_MARGIN = 0.5  # hair, neck and hands move with a face and are not news


def thumbnail_of(luma: Luma) -> Luma:
    """A few dozen pixels of the picture, each the mean of a block (exact halving keeps it cheap at any size)."""
    num_halvings = max(math.ceil(math.log2(max(luma.shape) / _MAX_THUMBNAIL_SIDE)), 0)
    if max(luma.shape) >= _LARGE_SIDE:
        height, width = (max(side // 4, 1) for side in luma.shape)
        luma = np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
        num_halvings -= 2
    thumbnail = halved(luma, times=num_halvings)
    return thumbnail.copy() if thumbnail is luma else thumbnail


def is_cut(previous: Luma, current: Luma) -> bool:
    """Whether two consecutive thumbnails show different scenes. Brightness alone is no difference."""
    if previous.shape != current.shape:
        return True
    if cv2.norm(previous, current, cv2.NORM_L1) <= _STILL_LEVELS * current.size:
        return False  # the usual case, decided cheaply
    before, after = previous.astype(np.float32), current.astype(np.float32)
    before -= before.mean()
    after -= after.mean()
    deviations = float(before.std()), float(after.std())
    if min(deviations) < _FLAT_DEVIATION:
        return max(deviations) >= _FLAT_DEVIATION
    return float((before * after).mean()) < _MIN_CORRELATION * deviations[0] * deviations[1]


def has_new_motion(reference: Luma, current: Luma, *, faces: Iterable[Face], frame_width: int) -> bool:
    """Whether much changed since the reference thumbnail outside the known faces: somebody may have come in."""
    if reference.shape != current.shape:
        return True
    if cv2.norm(reference, current, cv2.NORM_INF) <= _CHANGED_LEVELS:
        return False
    is_changed = cv2.absdiff(reference, current) > _CHANGED_LEVELS
    cells_per_pixel = current.shape[1] / frame_width
    for face in faces:
        x0, y0, x1, y1 = face.box_xyxy
        margin_x, margin_y = _FACE_MARGIN * face.width, _FACE_MARGIN * face.height
        corners = np.array([x0 - margin_x, y0 - margin_y, x1 + margin_x, y1 + margin_y]) * cells_per_pixel
        left, top, right, bottom = np.maximum(corners, 0).astype(int)
        is_changed[top : bottom + 1, left : right + 1] = False
    return bool(is_changed.mean() > _MIN_CHANGED_SHARE)
