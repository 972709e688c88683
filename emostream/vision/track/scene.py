"""Detects scene cuts, zooms, fades and new motion on small pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.geometry.downscale import halved, resized
from emostream.vision.geometry.similarity import PlaneSimilarity

_MAX_SMALL_SIDE = 192
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

_ZOOM_SIDE = 96
_MIN_ZOOMED_SIDE = 32
_MIN_ZOOM, _MAX_ZOOM, _NUM_ZOOMS = 1.06, 3.2, 20
# Zooms of 1.5 within the same take correlate by 0.97 and more, two people before the same plain wall by 0.87.
_MIN_ZOOM_CORRELATION = 0.93

_MIN_FADED_SHARE = 0.15  # of the power of both pictures; a correlation of 0.85
_MAX_OFF_HALF = 0.25
_MAX_FADE_REST = 0.1  # share of the change's power that no mixture explains

_CHANGED_LEVELS = 24  # well above noise and flickering light
_MIN_CHANGED_SHARE = 0.015  # a face of an eighth of the picture's height
_FACE_MARGIN = 0.5  # hair, neck and hands move with a face and are not new
_SHOULDERS_MARGIN = 1.0  # below a face


def small_of(luma: Luma) -> Luma:
    """The picture at 192 pixels per side at most, from which `thumbnail_of` makes the same thumbnail."""
    return _shrunk(luma, side=_MAX_SMALL_SIDE)


def thumbnail_of(luma: Luma) -> Luma:
    """A thumbnail of at most 48 pixels per side; each pixel is the mean of a block (cheap at any size)."""
    return _shrunk(luma, side=_MAX_THUMBNAIL_SIDE)


def _shrunk(luma: Luma, *, side: int) -> Luma:
    num_halvings = max(math.ceil(math.log2(max(luma.shape) / side)), 0)
    if max(luma.shape) >= _LARGE_SIDE:
        height, width = (max(side // 4, 1) for side in luma.shape)
        luma = resized(luma, (width, height), interpolation=cv2.INTER_NEAREST)
        num_halvings -= 2
    shrunk = halved(luma, times=num_halvings)
    return shrunk.copy() if shrunk is luma else np.ascontiguousarray(shrunk)


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
    previous: Luma,
    current: Luma,
    *,
    elapsed_seconds: float,
    faces: Iterable[Face],
    frame_width: int,
    min_concordance: float = _MIN_CONCORDANCE_AROUND,
) -> bool:
    """Whether two thumbnails show different scenes, given the time between them.

    Args:
        previous: the earlier thumbnail.
        current: the later thumbnail.
        elapsed_seconds: time between their frames.
        faces: of both frames, in frame pixels; people move, the background does not.
        frame_width: pixels.
        min_concordance: smallest concordance correlation of two pictures of one scene.
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
    return float((before * after).mean()) < min_concordance * (variances[0] + variances[1]) / 2


def zoom_between(previous: Luma, current: Luma, *, frame_width: int) -> PlaneSimilarity | None:
    """The transform between two pictures of which one shows a part of the other one: a zoom within the same take.

    Args:
        previous: of the earlier frame, from `small_of`.
        current: of the later frame.
        frame_width: pixels.

    Returns:
        One transform from pixels of the earlier frame to pixels of the later one; None when it is another scene.
    """
    if previous.shape != current.shape or min(current.shape) < _MIN_ZOOMED_SIDE:
        return None
    before, after = (_shrunk(small, side=_ZOOM_SIDE) for small in (previous, current))
    pixels = frame_width / after.shape[1]
    closer = _place_in(before, after)  # the later picture is a part of the earlier one
    wider = _place_in(after, before)
    correlation, zoom, corner = max(closer, wider, key=lambda place: place[0])
    if correlation < _MIN_ZOOM_CORRELATION:
        return None
    if closer[0] >= wider[0]:
        return PlaneSimilarity(np.array([zoom + 0j]), np.array([-zoom * pixels * corner]))
    return PlaneSimilarity(np.array([1 / zoom + 0j]), np.array([pixels * corner]))


def _place_in(whole: Luma, part: Luma) -> tuple[float, float, complex]:
    """Where a picture is found in another one: correlation, how many times larger it is, and its left upper corner."""
    best = (-1.0, 1.0, 0j)
    if float(part.std()) < _FLAT_DEVIATION:
        return best
    zooms = np.geomspace(_MIN_ZOOM, _MAX_ZOOM, _NUM_ZOOMS)
    for step in (0.0, zooms[1] / zooms[0] - 1):  # all sizes, then finely around the best one
        for zoom in zooms if not step else best[1] * (1 + step * np.linspace(-0.8, 0.8, 9)):
            size = tuple(min(max(round(side / zoom), 4), side) for side in part.shape[::-1])
            found = cv2.matchTemplate(whole, cv2.resize(part, size, interpolation=cv2.INTER_AREA), cv2.TM_CCOEFF_NORMED)
            _, correlation, _, (x, y) = cv2.minMaxLoc(found)
            if correlation > best[0]:
                best = (float(correlation), float(zoom), complex(x, y))
    return best


def has_faded(earlier: Sequence[Luma], current: Luma, *, face: Face, frame_width: int) -> bool:
    """Whether another picture was faded in where a face is: a picture in between is a mixture of those around it.

    A head that turns passes through views that are no mixtures of the first and the last one.

    Args:
        earlier: pictures from `small_of`, in order.
        current: the newest one.
        face: in pixels of the frame.
        frame_width: pixels.
    """
    place = _cells_of(face, current, frame_width=frame_width)
    parts = [small[place].astype(np.float32).ravel() for small in earlier if small.shape == current.shape]
    if len(parts) < 2 or parts[0].size < 4:
        return False
    stack = np.stack([part - part.mean() for part in parts])
    now = current[place].astype(np.float32).ravel()
    now -= now.mean()
    for first in range(len(stack) - 1):
        change, between = now - stack[first], stack[first + 1 :] - stack[first]
        power = float(change @ change)
        if power < _MIN_FADED_SHARE * float(now @ now + stack[first] @ stack[first]):
            continue
        shares = between @ change / power
        rest = (between * between).sum(axis=1) / power - shares**2
        is_mixture = (np.abs(shares - 0.5) <= _MAX_OFF_HALF) & (rest <= _MAX_FADE_REST)
        if is_mixture.any():
            return True
    return False


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
