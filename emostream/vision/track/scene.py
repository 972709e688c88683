"""Detects scene cuts and new motion on thumbnails."""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.geometry.downscale import halved

_MAX_THUMBNAIL_SIDE = 48
_LARGE_SIDE = 1280  # larger frames are subsampled by 4, since reading the pixels dominates the cost

# Neighbouring frames of the test clips correlate by 0.98 and more, frames of different clips by 0.55 and less.
_MIN_CORRELATION = 0.7
# Further apart than this, people have moved, so the background decides. The concordance correlation is also lower where
# the contrast differs: it separates two plain walls of which one is lit from the side.
_NEIGHBOURS_SECONDS = 0.15
_MIN_CONCORDANCE_AROUND = 0.6
_MIN_SHARE_AROUND = 0.2  # where faces leave less background, the whole picture is compared
_STILL_LEVELS = 4.0  # mean difference in gray levels below which two pictures show the same
_FLAT_DEVIATION = 2.0  # gray levels; a thumbnail with less contrast cannot be compared

_CHANGED_LEVELS = 24  # well above noise and flickering light
_MIN_CHANGED_SHARE = 0.015  # a face of an eighth of the picture's height
_FACE_MARGIN = 0.5  # hair, neck and hands move with a face and are not new
_SHOULDERS_MARGIN = 1.0  # below a face


def thumbnail_of(luma: Luma) -> Luma:
    """A thumbnail of at most 48 pixels per side; each pixel is the mean of a block (cheap at any size)."""
    num_halvings = max(math.ceil(math.log2(max(luma.shape) / _MAX_THUMBNAIL_SIDE)), 0)
    if max(luma.shape) >= _LARGE_SIDE:
        height, width = (max(side // 4, 1) for side in luma.shape)
        luma = np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
        num_halvings -= 2
    thumbnail = halved(luma, times=num_halvings)
    return thumbnail.copy() if thumbnail is luma else thumbnail


def is_cut(previous: Luma, current: Luma, *, min_correlation: float = _MIN_CORRELATION) -> bool:
    """Whether two thumbnails show different scenes. A change of brightness alone is none."""
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
    return float((before * after).mean()) < min_correlation * deviations[0] * deviations[1]


def is_cut_around(
    previous: Luma, current: Luma, *, elapsed_seconds: float, faces: Iterable[Face], frame_width: int
) -> bool:
    """Whether two thumbnails show different scenes, given the time between them.

    Args:
        previous: the earlier thumbnail.
        current: the later thumbnail.
        elapsed_seconds: time between their frames.
        faces: of both frames, in frame pixels; people move, the background does not.
        frame_width: pixels.
    """
    if previous.shape != current.shape or elapsed_seconds <= _NEIGHBOURS_SECONDS:
        return is_cut(previous, current)
    is_around = np.ones(current.shape, dtype=bool)
    for face in faces:
        is_around[_cells_of(face, current, frame_width=frame_width, below=_SHOULDERS_MARGIN)] = False
    if is_around.mean() < _MIN_SHARE_AROUND:
        is_around[:] = True
    before, after = previous[is_around].astype(np.float32), current[is_around].astype(np.float32)
    before -= before.mean()
    after -= after.mean()
    variances = float(before.var()), float(after.var())
    if max(variances) < _FLAT_DEVIATION**2:
        return False
    return float((before * after).mean()) < _MIN_CONCORDANCE_AROUND * (variances[0] + variances[1]) / 2


def has_new_motion(reference: Luma, current: Luma, *, faces: Iterable[Face], frame_width: int) -> bool:
    """Whether enough changed outside the known faces since the reference thumbnail that someone may have come in."""
    if reference.shape != current.shape:
        return True
    if cv2.norm(reference, current, cv2.NORM_INF) <= _CHANGED_LEVELS:
        return False
    is_changed = cv2.absdiff(reference, current) > _CHANGED_LEVELS
    for face in faces:
        is_changed[_cells_of(face, current, frame_width=frame_width)] = False
    return bool(is_changed.mean() > _MIN_CHANGED_SHARE)


def _cells_of(face: Face, thumbnail: Luma, *, frame_width: int, below: float = _FACE_MARGIN) -> tuple[slice, slice]:
    """The thumbnail's pixels that show a face and what moves with it."""
    x0, y0, x1, y1 = face.box_xyxy
    margin_x, margin_y = _FACE_MARGIN * face.width, _FACE_MARGIN * face.height
    corners = np.array([x0 - margin_x, y0 - margin_y, x1 + margin_x, y1 + below * face.height])
    left, top, right, bottom = np.maximum(corners * (thumbnail.shape[1] / frame_width), 0).astype(int)
    return slice(top, bottom + 1), slice(left, right + 1)
