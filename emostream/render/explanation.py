"""Draws a picture and the explanations of its faces."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.event import UNKNOWN
from emostream.domain.face import Face
from emostream.render.fitted_text import fitted_text
from emostream.render.heat_map import draw_heat_map, draw_scale
from emostream.render.palette import colour_of
from emostream.vision.explain.explanation import Explanation

Rgb = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_INK: Colour = (28, 28, 30)
_DIM: Colour = (110, 110, 116)
_FAINT: Colour = (226, 226, 230)
_PAPER = 252
_FONT = cv2.FONT_HERSHEY_SIMPLEX

_MARGIN = 28
_WIDTH = 1040
_MAX_PICTURE_HEIGHT = 620
_MAX_ENLARGEMENT = 3.0
_CROP = 216
_COLUMN_GAP = 24
_LINE = 25
_ROW = _CROP + 100
_NUM_REGIONS_SHOWN = 5
_MAX_BARS = 10


def draw_explanations(rgb: Rgb, explanations: Sequence[Explanation], *, faces: Sequence[Face], model: str) -> Rgb:
    """Draw the picture with numbered faces, then a row per explanation: crop, map, probabilities, regions.

    Args:
        rgb: uint8, H×W×3, RGB; not modified.
        explanations: of some of the faces.
        faces: all faces found, numbered by track id.
        model: name and version, for the last line.

    Returns:
        A new picture, uint8, H'×1040×3, RGB.
    """
    rows = [_draw_row(explanation) for explanation in explanations]
    return np.concatenate([_draw_picture(rgb, explanations, faces=faces), *rows, _draw_footer(model)])


def _sheet(height: int) -> Rgb:
    return np.full((height, _WIDTH, 3), _PAPER, dtype=np.uint8)


def _draw_picture(rgb: Rgb, explanations: Sequence[Explanation], *, faces: Sequence[Face]) -> Rgb:
    height, width = rgb.shape[:2]
    scale = min((_WIDTH - 2 * _MARGIN) / width, _MAX_PICTURE_HEIGHT / height, _MAX_ENLARGEMENT)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(rgb, size, interpolation=interpolation), dtype=np.uint8)
    answers = {
        explanation.face.track_id: colour_of(explanation.scores.dominant, explanation.scores.labels)
        for explanation in explanations
    }
    for face in faces:
        _draw_box(picture, face, scale=scale, colour=answers.get(face.track_id, _FAINT))
    sheet = _sheet(size[1] + 2 * _MARGIN)
    _paste(sheet, picture, left=(_WIDTH - size[0]) // 2, top=_MARGIN)
    return sheet


def _draw_box(picture: Rgb, face: Face, *, scale: float, colour: Colour) -> None:
    """The box in its colour with dark outlines, and the face's number at its corner."""
    x0, y0, x1, y1 = (round(value * scale) for value in face.box_xyxy)
    cv2.rectangle(picture, (x0, y0), (x1, y1), _INK, 4, cv2.LINE_AA)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, 2, cv2.LINE_AA)
    text = str(face.track_id)
    width, height = 12 + 9 * len(text), 22
    # Inside the picture, so that the number of a face at its border is readable.
    left, bottom = max(min(x0, picture.shape[1] - width), 0), max(y0, height)
    cv2.rectangle(picture, (left, bottom - height), (left + width, bottom), colour, cv2.FILLED)
    _write(picture, text, left=left + 6, bottom=bottom - 6, height=11)


def _draw_row(explanation: Explanation) -> Rgb:
    sheet = _sheet(_ROW)
    cv2.line(sheet, (_MARGIN, 0), (_WIDTH - _MARGIN, 0), _FAINT, 1)
    dominant, explained = (
        fitted_text(name, width=360, height=15) for name in (explanation.scores.dominant, explanation.emotion)
    )
    title = f"{explanation.face.track_id}   {dominant} {explanation.scores.confidence:.0%}"
    if explanation.emotion != explanation.scores.dominant:
        title += f", explained: {explained} {explanation.probability:.0%}"
    if not explanation.is_named:
        title += f", named {UNKNOWN}"
    if explanation.quality:
        title += f" ({', '.join(explanation.quality)})"
    _write(sheet, title, left=_MARGIN, bottom=32, height=15, is_bold=True)
    top = 50
    crop = cv2.resize(explanation.crop, (_CROP, _CROP), interpolation=cv2.INTER_CUBIC)
    _paste(sheet, np.repeat(crop[:, :, None], 3, axis=2), left=_MARGIN, top=top)
    _caption(sheet, "model input", left=_MARGIN, top=top)
    left = _MARGIN + _CROP + _COLUMN_GAP
    _paste(sheet, draw_heat_map(explanation.crop, explanation.saliency, size=_CROP), left=left, top=top)
    caption = fitted_text(f"evidence for {explanation.emotion}", width=_CROP - 60, height=9)
    _caption(sheet, caption, left=left, top=top)
    _paste(sheet, draw_scale(width=54, height=9), left=left + _CROP - 54, top=top + _CROP + 10)
    left += _CROP + _COLUMN_GAP
    _draw_bars(sheet, explanation, left=left, top=top)
    _draw_regions(sheet, explanation, left=left + 246, top=top)
    return sheet


def _draw_bars(sheet: Rgb, explanation: Explanation, *, left: int, top: int) -> None:
    """One bar per emotion in the order of the model's labels; the most probable ones of many."""
    labels, full = 76, 104
    for row, (emotion, probability) in enumerate(explanation.scores.strongest(_MAX_BARS).items()):
        bottom = top + _LINE * row + 16
        name = fitted_text(emotion, width=labels - 6, height=10)
        _write(sheet, name, left=left, bottom=bottom, height=10, is_bold=emotion == explanation.emotion)
        start, end = left + labels, left + labels + max(1, round(full * probability))
        cv2.rectangle(sheet, (start, bottom - 12), (start + full, bottom + 2), _FAINT, cv2.FILLED)
        cv2.rectangle(
            sheet, (start, bottom - 12), (end, bottom + 2), colour_of(emotion, explanation.scores.labels), cv2.FILLED
        )
        cv2.rectangle(sheet, (start, bottom - 12), (end, bottom + 2), _DIM, 1)
        _write(sheet, f"{probability:.0%}", left=start + full + 8, bottom=bottom, height=10)


def _draw_regions(sheet: Rgb, explanation: Explanation, *, left: int, top: int) -> None:
    """The regions with most evidence for their size, and the probability when each is hidden."""
    _write(sheet, "evidence", left=left + 92, bottom=top + 14, height=9, colour=_DIM)
    without = fitted_text(f"{explanation.emotion} without it", width=_WIDTH - _MARGIN - left - 158, height=9)
    _write(sheet, without, left=left + 158, bottom=top + 14, height=9, colour=_DIM)
    for row, region in enumerate(explanation.regions[:_NUM_REGIONS_SHOWN], start=1):
        bottom = top + _LINE * row + 14
        _write(sheet, region.name, left=left, bottom=bottom, height=10)
        _write(sheet, f"{region.evidence:.0%}", left=left + 92, bottom=bottom, height=10)
        _write(sheet, f"{region.probability_hidden:.0%}", left=left + 158, bottom=bottom, height=10)
    check = explanation.check
    bottom = top + _LINE * (_NUM_REGIONS_SHOWN + 1) + 24
    verdict = "map checked: better than random" if check.is_passed else "map no better than random"
    _write(sheet, verdict, left=left, bottom=bottom, height=10, colour=_INK if check.is_passed else (170, 60, 0))
    figures = (
        f"deletion {check.deletion:.2f}, random {check.random_deletion:.2f}",
        f"insertion {check.insertion:.2f}, random {check.random_insertion:.2f}",
    )
    for row, text in enumerate(figures, start=1):
        _write(sheet, text, left=left, bottom=bottom + 19 * row, height=9, colour=_DIM)


def _draw_footer(model: str) -> Rgb:
    sheet = _sheet(44)
    cv2.line(sheet, (_MARGIN, 0), (_WIDTH - _MARGIN, 0), _FAINT, 1)
    text = f"{model}: estimates how people would label the expression, not what the person feels"
    _write(sheet, text, left=_MARGIN, bottom=26, height=9, colour=_DIM)
    return sheet


def _paste(sheet: Rgb, part: Rgb, *, left: int, top: int) -> None:
    sheet[top : top + part.shape[0], left : left + part.shape[1]] = part


def _caption(sheet: Rgb, text: str, *, left: int, top: int) -> None:
    _write(sheet, text, left=left, bottom=top + _CROP + 19, height=9, colour=_DIM)


def _write(
    sheet: Rgb, text: str, *, left: int, bottom: int, height: int, colour: Colour = _INK, is_bold: bool = False
) -> None:
    """Text whose capitals are `height` pixels high."""
    (_, unscaled_height), _ = cv2.getTextSize("H0", _FONT, 1.0, 1)
    scale, thickness = height / unscaled_height, 2 if is_bold else 1
    cv2.putText(sheet, text, (left, bottom), _FONT, scale, colour, thickness, cv2.LINE_AA)
