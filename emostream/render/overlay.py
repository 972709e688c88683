"""Pure: a picture and its event → the picture with boxes, track ids and emotions drawn on it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from emostream.event import EmotionEvent, FaceEmotion

Rgb = tuple[int, int, int]

# Okabe & Ito's palette: distinguishable with every common kind of colour blindness. Text always says the same.
COLOURS: dict[str, Rgb] = {
    "angry": (213, 94, 0),
    "disgust": (0, 158, 115),
    "fear": (204, 121, 167),
    "happy": (240, 228, 66),
    "sad": (0, 114, 178),
    "surprise": (230, 159, 0),
    "neutral": (220, 220, 220),
}
_OTHER: Rgb = (86, 180, 233)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour_of(emotion: str) -> Rgb:
    """The colour that stands for an emotion; one colour for all classes a foreign model may add."""
    return COLOURS.get(emotion, _OTHER)


def draw_event(rgb: npt.NDArray[np.uint8], event: EmotionEvent) -> npt.NDArray[np.uint8]:
    """Draw an event on its frame.

    Args:
        rgb: uint8, H×W×3, RGB; not written into.
        event: the event of this frame.

    Returns:
        A new picture of the same size.
    """
    picture = np.ascontiguousarray(rgb).copy()
    scale = max(0.4, min(picture.shape[:2]) / 720)
    for face in event.faces:
        _draw_face(picture, face, scale=scale)
    _draw_text(picture, f"{event.pts_seconds:7.2f} s", (int(8 * scale), int(26 * scale)), (255, 255, 255), scale)
    return picture


def _draw_face(picture: npt.NDArray[np.uint8], face: FaceEmotion, *, scale: float) -> None:
    x0, y0, x1, y1 = (round(value) for value in face.face.box_xyxy)
    colour = colour_of(face.dominant)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, max(1, round(2 * scale)))
    label = f"#{face.face.track_id} {face.dominant} {face.confidence:.0%}"
    _draw_text(picture, label, (x0, max(y0 - round(8 * scale), round(20 * scale))), colour, scale)
    _draw_bars(picture, face, left=x1 + round(6 * scale), top=y0, scale=scale)


def _draw_bars(picture: npt.NDArray[np.uint8], face: FaceEmotion, *, left: int, top: int, scale: float) -> None:
    height, full = max(4, round(9 * scale)), max(24, round(60 * scale))
    for row, (emotion, probability) in enumerate(face.smoothed.as_dict().items()):
        y = top + row * (height + max(1, round(2 * scale)))
        cv2.rectangle(picture, (left, y), (left + full, y + height), (40, 40, 40), cv2.FILLED)
        end = left + max(1, round(full * probability))
        cv2.rectangle(picture, (left, y), (end, y + height), colour_of(emotion), cv2.FILLED)


def _draw_text(picture: npt.NDArray[np.uint8], text: str, at: tuple[int, int], colour: Rgb, scale: float) -> None:
    thickness = max(1, round(1.6 * scale))
    # A dark outline keeps the text readable on any background.
    cv2.putText(picture, text, at, _FONT, 0.7 * scale, (0, 0, 0), thickness + 2, cv2.LINE_AA)
    cv2.putText(picture, text, at, _FONT, 0.7 * scale, colour, thickness, cv2.LINE_AA)
