"""Draws events on their frames: boxes, track numbers, emotions and probabilities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion
from emostream.render.fitted_text import fitted_text, text_width
from emostream.render.label_places import Area, Label, Place, Room, Side, place_labels
from emostream.render.overlay_style import OverlayStyle
from emostream.render.palette import DARK_INK, LIGHT_INK, Rgb, colour_of, ink_on

Picture = npt.NDArray[np.uint8]

_DIM: Rgb = (170, 170, 170)
_TIME_BACKGROUND: Rgb = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MAX_LABELS = 120  # of the largest faces; more are unreadable in any picture
_MAX_MAIN = 6  # faces with bars and a share: more bars leave no room for labels
_LEAST_MAIN = 1 / 3  # of the height of the largest face
_STAY = 1.25  # a face that was a main one counts as larger, so that two of about the same size do not alternate
_LARGE_TEXT = 3.0  # a face at least this many text heights tall has text of full size, others a smaller one
_MAX_BARS = 10  # the most probable ones, of a model with many classes
_NAME_IN_LABEL = 12.0  # largest width of the name in a label, in text heights
_PANEL_DARKNESS = 0.7  # the picture shows through the background of the bars
_MOST_OF_FACE = 12  # bars without other room cover at most one part in this many of their own face
_MAX_REMEMBERED = 1000  # faces whose labels stay in place; then those of earlier frames are forgotten

# Of the height of the text.
_NAME_WIDTH, _BAR_WIDTH = 5.4, 3.6
_NAMED_ROW, _PLAIN_ROW = 1.15, 0.55

_SIDES_OF_BARS = (Side.RIGHT, Side.LEFT, Side.BELOW, Side.BELOW_END, Side.ABOVE, Side.ABOVE_END)


class Overlay:
    """Draws the events of one stream. Labels stay where they were in the frame before, as long as there is room.

    Labels and bars cover no other label, and no face while there is room: where there is none beside a face, a line
    leads to its label, and in a crowd without any room the smallest faces have only their box. On a face that fills the
    picture both lie over a corner. Bars are drawn for the largest faces, at most six. Long names are shortened. Not
    thread-safe.

    Args:
        style: how much is drawn.
        has_time: draw the frame's time in the source in a corner.
    """

    def __init__(self, style: OverlayStyle = OverlayStyle.BARS, *, has_time: bool = True) -> None:
        self._style = style
        self._has_time = has_time
        self._labels: dict[int, Place | None] = {}
        self._bars: dict[int, tuple[Side, bool]] = {}
        self._main: set[int] = set()
        self._large: set[int] = set()

    def draw(self, rgb: Picture, event: EmotionEvent) -> Picture:
        """Draw an event on its frame.

        Args:
            rgb: uint8, H×W×3, RGB; not modified.
            event: the event of this frame.

        Returns:
            A new picture of the same size.
        """
        picture = np.ascontiguousarray(rgb).copy()
        height, width = picture.shape[:2]
        # Readable on a small clip, not too large on a large one.
        full, small = max(10, round(min(height, width) / 32)), max(9, round(min(height, width) / 54))
        faces = sorted(event.faces, key=lambda face: -_weight(face, self._main))
        boxes = [_area_of(face) for face in faces]
        taken = [_draw_time(picture, event, height=full)] if self._has_time else []
        room = Room(width, height, faces=boxes, taken=taken)
        texts: list[_Text] = []
        if self._style is not OverlayStyle.BOX:
            texts = self._place_texts(faces[:_MAX_LABELS], boxes, room=room, full=full, small=small)
        if self._style is OverlayStyle.BARS:
            for text in texts:
                if text.is_main:
                    self._draw_bars(picture, text, room=room)
        thickness = max(1, full // 6)
        for text in texts:
            if text.place is not None and text.place.side is Side.AWAY:
                _draw_leader(picture, text, thickness=max(1, thickness // 2))
        for face, box in reversed(list(zip(faces, boxes, strict=True))):
            _draw_box(picture, box, colour=_colour_of(face), thickness=thickness)
        for text in texts:
            if text.place is not None:
                _draw_label(picture, text.words, text.place.area, height=text.height, background=text.colour)
        return picture

    def _place_texts(
        self, faces: Sequence[FaceEmotion], boxes: Sequence[Area], *, room: Room, full: int, small: int
    ) -> list[_Text]:
        """The labels of faces, and where they go; the largest faces come first."""
        largest = max((box.height for box in boxes), default=0)
        texts, labels = [], []
        for number, (face, box) in enumerate(zip(faces, boxes, strict=False)):
            key = face.track_id
            stay = 1 / _STAY if key in self._large else 1.0
            height = full if box.height >= _LARGE_TEXT * stay * full else small
            is_main = number < _MAX_MAIN and _weight(face, self._main) >= _LEAST_MAIN * largest
            words = _words(face, height=height, has_share=is_main)
            words = fitted_text(words, width=room.picture.width - 2 * (height // 2), height=height)
            texts.append(_Text(face, box, words, height, is_main, is_large=height == full))
            width = text_width(words, height=height) + 2 * (height // 2)
            labels.append(Label(box, width, height + 2 * (height // 2), gap=max(1, full // 6), key=key))
        for text, place in zip(texts, place_labels(labels, room, earlier=self._labels), strict=True):
            text.place = place
        self._remember(texts)
        return texts

    def _remember(self, texts: Sequence[_Text]) -> None:
        known = {text.face.track_id: text for text in texts if text.face.track_id is not None}
        self._main = {key for key, text in known.items() if text.is_main}
        self._large = {key for key, text in known.items() if text.is_large}
        places = {key: text.place for key, text in known.items()}
        # Also of those who are away for some frames.
        self._labels = places if len(self._labels) > _MAX_REMEMBERED else self._labels | places

    def _draw_bars(self, picture: Picture, text: _Text, *, room: Room) -> None:
        """Draw a bar per emotion for its smoothed probability, in the order of the labels, where there is room."""
        shown = text.face.smoothed.strongest(_MAX_BARS)
        found = self._place_bars(text, len(shown), room=room)
        if found is None:
            return
        area, has_names = found
        room.take(area)
        part = picture[area.y0 : area.y1, area.x0 : area.x1]
        part[:] = np.rint(part * (1 - _PANEL_DARKNESS) + np.array(DARK_INK) * _PANEL_DARKNESS)
        margin = text.height // 4
        row = (area.height - text.height // 2) // len(shown)
        start = area.x0 + margin + (round(_NAME_WIDTH * text.height) if has_names else 0)
        full = area.x1 - margin - start
        for number, (emotion, probability) in enumerate(shown.items()):
            top = area.y0 + margin + number * row
            if has_names:
                _write(
                    picture,
                    fitted_text(emotion, width=start - area.x0 - 2 * margin, height=0.8 * text.height),
                    left=area.x0 + margin,
                    bottom=top + row - margin,
                    height=0.8 * text.height,
                    colour=LIGHT_INK if emotion == text.face.dominant else _DIM,
                )
            end = start + max(1, round(full * probability))
            cv2.rectangle(
                picture,
                (start, top + 1),
                (end, top + row - 2),
                colour_of(emotion, text.face.smoothed.labels),
                cv2.FILLED,
            )

    def _place_bars(self, text: _Text, num_rows: int, *, room: Room) -> tuple[Area, bool] | None:
        """The area of a face's bars, and whether it has space for names; None where there is no room."""
        gap = text.height // 3
        panels = {
            has_names: Label(
                text.box,
                round(((_NAME_WIDTH if has_names else 0) + _BAR_WIDTH + 0.5) * text.height),
                round((_NAMED_ROW if has_names else _PLAIN_ROW) * text.height) * num_rows + text.height // 2,
                gap=gap,
            )
            for has_names in (True, False)
        }
        key = text.face.track_id
        before = self._bars.get(key) if key is not None else None
        if before is not None:
            side, has_names = before
            area = room.beside(panels[has_names], side)
            if room.is_free(area):
                return area, has_names
        for has_names, panel in panels.items():
            place = room.first_beside(panel, _SIDES_OF_BARS)
            if place is not None:
                if key is not None:
                    self._bars = ({} if len(self._bars) > _MAX_REMEMBERED else self._bars) | {
                        key: (place.side, has_names)
                    }
                return place.area, has_names
        place = room.over(panels[False], most=_MOST_OF_FACE, is_low=True)
        return None if place is None else (place.area, False)


@dataclass(slots=True)
class _Text:
    """What is said of a face.

    Attributes:
        words: the text.
        height: of its capitals, pixels.
        is_main: one of the largest faces.
        is_large: written in the larger size.
        place: None where there is no room.
    """

    face: FaceEmotion
    box: Area
    words: str
    height: int
    is_main: bool
    is_large: bool
    place: Place | None = None

    @property
    def colour(self) -> Rgb:
        """The colour of its emotion."""
        return _colour_of(self.face)


def draw_event(
    rgb: Picture, event: EmotionEvent, *, has_time: bool = True, style: OverlayStyle = OverlayStyle.BARS
) -> Picture:
    """Draw the event of a single picture on it; see `Overlay`, which also keeps labels steady from frame to frame."""
    return Overlay(style, has_time=has_time).draw(rgb, event)


def _area_of(face: FaceEmotion) -> Area:
    return Area(*(round(value) for value in face.box_xyxy))


def _weight(face: FaceEmotion, main: Collection[int]) -> float:
    """Height in pixels, more for a face that was a main one in the frame before."""
    return face.face.height * (_STAY if face.track_id in main else 1.0)


def _colour_of(face: FaceEmotion) -> Rgb:
    return colour_of(face.dominant, face.smoothed.labels)


def _words(face: FaceEmotion, *, height: int, has_share: bool) -> str:
    name = fitted_text(face.dominant, width=_NAME_IN_LABEL * height, height=height)
    number = "" if face.track_id is None else f"#{face.track_id} "
    if face.dominant == UNKNOWN:
        reason = f": {', '.join(face.quality)}" if has_share and face.quality else ""
        return f"{number}{name}{reason}"
    share = f" {face.confidence:.0%}" if has_share else ""
    return f"{number}{name}{share}"


def _draw_box(picture: Picture, box: Area, *, colour: Rgb, thickness: int) -> None:
    # A dark outline around the coloured line, visible on any background.
    cv2.rectangle(picture, box[:2], box[2:], DARK_INK, thickness + 2)
    cv2.rectangle(picture, box[:2], box[2:], colour, thickness)


def _draw_leader(picture: Picture, text: _Text, *, thickness: int) -> None:
    """A line from a face to its label, in the same colour."""
    if text.place is None:
        return
    area, box = text.place.area, text.box
    ends = [
        tuple(min(max(middle, low), high) for middle, low, high in ((x, one.x0, one.x1), (y, one.y0, one.y1)))
        for one, (x, y) in ((box, _middle(area)), (area, _middle(box)))
    ]
    cv2.line(picture, ends[0], ends[1], DARK_INK, thickness + 2, cv2.LINE_AA)
    cv2.line(picture, ends[0], ends[1], text.colour, thickness, cv2.LINE_AA)


def _middle(area: Area) -> tuple[int, int]:
    return (area.x0 + area.x1) // 2, (area.y0 + area.y1) // 2


def _draw_time(picture: Picture, event: EmotionEvent, *, height: int) -> Area:
    words = f"{event.pts_seconds:.2f} s"
    area = Area(0, 0, text_width(words, height=height) + 2 * (height // 2), height + 2 * (height // 2))
    _draw_label(picture, words, area, height=height, background=_TIME_BACKGROUND)
    return area


def _draw_label(picture: Picture, text: str, area: Area, *, height: int, background: Rgb) -> None:
    """Text on a filled rectangle, readable on any background."""
    margin = height // 2
    cv2.rectangle(picture, area[:2], (area.x1 - 1, area.y1 - 1), background, cv2.FILLED)
    _write(picture, text, left=area.x0 + margin, bottom=area.y1 - margin, height=height, colour=ink_on(background))


def _scale_of(height: float) -> float:
    """The font scale at which capitals are `height` pixels high."""
    (_, unscaled_height), _ = cv2.getTextSize("#0", _FONT, 1.0, 1)
    return height / unscaled_height


def _write(picture: Picture, text: str, *, left: int, bottom: int, height: float, colour: Rgb) -> None:
    cv2.putText(picture, text, (left, bottom), _FONT, _scale_of(height), colour, 1, cv2.LINE_AA)
