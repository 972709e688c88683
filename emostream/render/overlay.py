"""Pure: a picture and its event → the picture with boxes, track ids and emotions drawn on it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from emostream.event import EmotionEvent, FaceEmotion
from emostream.palette import Rgb, colour_of

_INK: Rgb = (25, 25, 25)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_event(rgb: npt.NDArray[np.uint8], event: EmotionEvent) -> npt.NDArray[np.uint8]:
    """Draw an event on its frame.

    Args:
        rgb: uint8, H×W×3, RGB; not written into.
        event: the event of this frame.

    Returns:
        A new picture of the same size.
    """
    picture = np.ascontiguousarray(rgb).copy()
    # Readable on a small clip, not huge on a large one.
    text_height = max(10, round(min(picture.shape[:2]) / 32))
    for face in event.faces:
        _draw_face(picture, face, text_height=text_height)
    _draw_label(picture, f"{event.pts_seconds:.2f} s", left=0, bottom=2 * text_height, height=text_height)
    return picture


def _draw_face(picture: npt.NDArray[np.uint8], face: FaceEmotion, *, text_height: int) -> None:
    x0, y0, x1, y1 = (round(value) for value in face.face.box_xyxy)
    colour = colour_of(face.dominant)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, max(1, text_height // 6))
    _draw_bars(picture, face, left=x1 + text_height // 3, top=y0, text_height=text_height)
    label = f"#{face.face.track_id} {face.dominant} {face.confidence:.0%}"
    _draw_label(picture, label, left=x0, bottom=max(y0, 2 * text_height), height=text_height, background=colour)


def _draw_bars(picture: npt.NDArray[np.uint8], face: FaceEmotion, *, left: int, top: int, text_height: int) -> None:
    """One bar per emotion, in the order of the model's labels, as long as its smoothed probability."""
    height, full = max(3, text_height // 2), 4 * text_height
    for row, (emotion, probability) in enumerate(face.smoothed.as_dict().items()):
        y = top + row * (height + 1)
        cv2.rectangle(picture, (left, y), (left + full, y + height - 1), _INK, cv2.FILLED)
        end = left + max(1, round(full * probability))
        cv2.rectangle(picture, (left, y), (end, y + height - 1), colour_of(emotion), cv2.FILLED)


def _draw_label(
    picture: npt.NDArray[np.uint8], text: str, *, left: int, bottom: int, height: int, background: Rgb = (235, 235, 235)
) -> None:
    """Dark text on a filled field: readable on any background."""
    (_, unscaled_height), _ = cv2.getTextSize("#0", _FONT, 1.0, 1)
    scale = height / unscaled_height
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    margin = height // 2
    # Kept inside the picture, so that the name of a face at its border can be read, too.
    left = max(0, min(left, picture.shape[1] - width - 2 * margin))
    cv2.rectangle(
        picture, (left, bottom - height - 2 * margin), (left + width + 2 * margin, bottom), background, cv2.FILLED
    )
    cv2.putText(picture, text, (left + margin, bottom - margin), _FONT, scale, _INK, 1, cv2.LINE_AA)
