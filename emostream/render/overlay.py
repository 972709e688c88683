"""Draws an event on its frame: boxes, track numbers, emotions and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion
from emostream.render.fitted_text import fitted_text, text_width
from emostream.render.palette import DARK_INK, LIGHT_INK, Rgb, colour_of, ink_on

Picture = npt.NDArray[np.uint8]

_DIM: Rgb = (170, 170, 170)
_TIME_BACKGROUND: Rgb = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MAX_PANELS = 40  # in a crowd more are unreadable, and each one is placed beside all others
_MAX_BARS = 10  # the most probable ones, of a model with many classes
_NAME_IN_LABEL = 12.0  # largest width of the name over a face, in text heights
_PANEL_DARKNESS = 0.7  # the picture shows through the background of the bars

# Of the height of the text.
_NAME_WIDTH, _BAR_WIDTH = 5.4, 3.6
_NAMED_ROW, _PLAIN_ROW = 1.15, 0.55


class _Area(NamedTuple):
    """A rectangle in pixels; x1 and y1 are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    def covers(self, other: _Area) -> int:
        """Number of pixels in both."""
        across = min(self.x1, other.x1) - max(self.x0, other.x0)
        down = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(across, 0) * max(down, 0)


def draw_event(rgb: Picture, event: EmotionEvent, *, has_time: bool = True) -> Picture:
    """Draw an event on its frame.

    Beside each face is a bar per emotion (the most probable ones of many), with names where these cover no other face.
    Long names are shortened.

    Args:
        rgb: uint8, H×W×3, RGB; not modified.
        event: the event of this frame.
        has_time: draw the frame's time in the source in a corner.

    Returns:
        A new picture of the same size.
    """
    picture = np.ascontiguousarray(rgb).copy()
    # Readable on a small clip, not too large on a large one.
    text_height = max(10, round(min(picture.shape[:2]) / 32))
    boxes = [_area_of(face) for face in event.faces]
    taken = list(boxes)
    for face, box in list(zip(event.faces, boxes, strict=True))[:_MAX_PANELS]:
        taken.append(_draw_bars(picture, face, box=box, taken=taken, text_height=text_height))
    for face, box in zip(event.faces, boxes, strict=True):
        _draw_face(picture, face, box=box, text_height=text_height)
    if has_time:
        _draw_label(picture, f"{event.pts_seconds:.2f} s", left=0, bottom=2 * text_height, height=text_height)
    return picture


def _area_of(face: FaceEmotion) -> _Area:
    return _Area(*(round(value) for value in face.face.box_xyxy))


def _draw_face(picture: Picture, face: FaceEmotion, *, box: _Area, text_height: int) -> None:
    colour = colour_of(face.dominant)
    thickness = max(1, text_height // 6)
    # A dark outline around the coloured line, visible on any background.
    cv2.rectangle(picture, box[:2], box[2:], DARK_INK, thickness + 2)
    cv2.rectangle(picture, box[:2], box[2:], colour, thickness)
    share = "" if face.dominant == UNKNOWN else f" {face.confidence:.0%}"
    name = fitted_text(face.dominant, width=_NAME_IN_LABEL * text_height, height=text_height)
    label = f"#{face.face.track_id} {name}{share}"
    _draw_label(picture, label, left=box.x0, bottom=max(box.y0, 2 * text_height), height=text_height, background=colour)


def _draw_bars(picture: Picture, face: FaceEmotion, *, box: _Area, taken: Sequence[_Area], text_height: int) -> _Area:
    """Draw a bar per emotion for its smoothed probability, in the order of the labels. Returns their area."""
    shown = face.smoothed.strongest(_MAX_BARS)
    area, has_names = _place_of_bars(picture, box, len(shown), taken=taken, text_height=text_height)
    part = picture[max(area.y0, 0) : max(area.y1, 0), max(area.x0, 0) : max(area.x1, 0)]
    part[:] = np.rint(part * (1 - _PANEL_DARKNESS) + np.array(DARK_INK) * _PANEL_DARKNESS)
    row = (area.y1 - area.y0 - text_height // 2) // len(shown)
    margin = text_height // 4
    start = area.x0 + margin + (round(_NAME_WIDTH * text_height) if has_names else 0)
    full = area.x1 - margin - start
    for number, (emotion, probability) in enumerate(shown.items()):
        top = area.y0 + margin + number * row
        if has_names:
            colour = LIGHT_INK if emotion == face.dominant else _DIM
            _write(
                picture,
                fitted_text(emotion, width=start - area.x0 - 2 * margin, height=0.8 * text_height),
                left=area.x0 + margin,
                bottom=top + row - margin,
                height=0.8 * text_height,
                colour=colour,
            )
        end = start + max(1, round(full * probability))
        cv2.rectangle(picture, (start, top + 1), (end, top + row - 2), colour_of(emotion), cv2.FILLED)
    return area


def _place_of_bars(
    picture: Picture, box: _Area, num_rows: int, *, taken: Sequence[_Area], text_height: int
) -> tuple[_Area, bool]:
    """The area of a face's bars (beside, below or above it), and whether it has space for names."""
    for has_names in (True, False):
        width = round(((_NAME_WIDTH if has_names else 0) + _BAR_WIDTH + 0.5) * text_height)
        height = round((_NAMED_ROW if has_names else _PLAIN_ROW) * text_height) * num_rows + text_height // 2
        gap = text_height // 3
        above = box.y0 - 2 * text_height - gap - height  # over the label
        corners = (
            (box.x1 + gap, box.y0),
            (box.x0 - gap - width, box.y0),
            (box.x0, box.y1 + gap),
            (box.x1 - width, box.y1 + gap),
            (box.x0, above),
            (box.x1 - width, above),
        )
        for left, top in corners:
            area = _Area(left, top, left + width, top + height)
            if _is_inside(area, picture) and not any(area.covers(other) for other in taken):
                return area, has_names
    # Over its own face, rather than over another one or outside the picture.
    left = max(min(box.x0, picture.shape[1] - width), 0)
    top = max(min(box.y1 - height, picture.shape[0] - height), 0)
    return _Area(left, top, left + width, top + height), False


def _is_inside(area: _Area, picture: Picture) -> bool:
    height, width = picture.shape[:2]
    return area.x0 >= 0 and area.y0 >= 0 and area.x1 <= width and area.y1 <= height


def _draw_label(
    picture: Picture, text: str, *, left: int, bottom: int, height: int, background: Rgb = _TIME_BACKGROUND
) -> None:
    """Text on a filled rectangle, readable on any background."""
    width = text_width(text, height=height)
    margin = height // 2
    # Inside the picture, so that the name of a face at its border is readable.
    left = max(0, min(left, picture.shape[1] - width - 2 * margin))
    top = bottom - height - 2 * margin
    cv2.rectangle(picture, (left, top), (left + width + 2 * margin, bottom), background, cv2.FILLED)
    _write(picture, text, left=left + margin, bottom=bottom - margin, height=height, colour=ink_on(background))


def _scale_of(height: float) -> float:
    """The font scale at which capitals are `height` pixels high."""
    (_, unscaled_height), _ = cv2.getTextSize("#0", _FONT, 1.0, 1)
    return height / unscaled_height


def _write(picture: Picture, text: str, *, left: int, bottom: int, height: float, colour: Rgb) -> None:
    cv2.putText(picture, text, (left, bottom), _FONT, _scale_of(height), colour, 1, cv2.LINE_AA)
