"""What is drawn, where it is drawn, and that the frame itself stays as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion
from emostream.domain.face import BoxXyxy, Face
from emostream.errors import ConfigError
from emostream.render.fitted_text import fitted_text, text_width
from emostream.render.overlay import Overlay, draw_event
from emostream.render.overlay_style import OverlayStyle
from emostream.render.palette import EMOTION_COLOURS, OTHER_COLOUR, UNKNOWN_COLOUR, colour_of
from tests.strategies import boxes


def _event(box_xyxy: BoxXyxy) -> EmotionEvent:
    happy = EmotionScores(EMOTIONS, tuple(0.94 if name == "happy" else 0.01 for name in EMOTIONS))
    landmarks = ((1.0, 1.0), (3.0, 1.0), (2.0, 2.0), (1.0, 3.0), (3.0, 3.0))
    face = FaceEmotion(Face(box_xyxy, 0.9, landmarks, track_id=7), happy, happy)
    return EmotionEvent("clip", 1, 0, 0.0, datetime(2026, 1, 1, tzinfo=UTC), 640, 360, "m", "1", (face,))


def test_the_box_has_the_colour_of_the_emotion_and_the_frame_is_untouched() -> None:
    frame = np.full((360, 640, 3), 90, np.uint8)
    frame.flags.writeable = False
    drawn = draw_event(frame, _event((100, 100, 200, 220)))
    assert tuple(drawn[220, 150]) == EMOTION_COLOURS["happy"]
    assert tuple(drawn[160, 150]) == (90, 90, 90), "the inside of the box stays visible"


def test_without_faces_only_the_time_is_drawn() -> None:
    frame = np.zeros((360, 640, 3), np.uint8)
    drawn = draw_event(frame, replace(_event((0, 0, 1, 1)), faces=()))
    assert drawn[:40, :160].any()
    assert not drawn[40:].any()
    assert not drawn[:, 160:].any()


@pytest.mark.parametrize("box", [(-50.0, -50.0, 30.0, 30.0), (630.0, 350.0, 900.0, 900.0)], ids=["left", "right"])
def test_boxes_over_the_border_are_clipped(box: BoxXyxy) -> None:
    assert draw_event(np.zeros((360, 640, 3), np.uint8), _event(box)).any()


def test_every_emotion_has_its_own_colour_and_foreign_classes_have_one() -> None:
    assert len({colour_of(name) for name in EMOTIONS}) == len(EMOTIONS)
    assert colour_of("contempt") not in EMOTION_COLOURS.values()


def _event_with(labels: tuple[str, ...]) -> EmotionEvent:
    event = _event((300, 100, 360, 170))
    (face,) = event.faces
    scores = EmotionScores(labels, tuple(1 / len(labels) for _ in labels))
    return replace(event, faces=(replace(face, scores=scores, smoothed=scores, dominant=labels[-1]),))


@pytest.mark.parametrize("num_classes", [2, 3, 10, 11, 200])
def test_many_classes_take_the_space_of_ten(num_classes: int) -> None:
    frame = np.full((360, 640, 3), 90, np.uint8)

    def num_changed(number: int) -> int:
        event = _event_with(tuple(f"class {each}" for each in range(number)))
        return int((draw_event(frame, event, has_time=False) != 90).any(axis=2).sum())

    assert num_changed(num_classes) <= 1.1 * num_changed(10)


def test_a_long_name_hides_no_bar() -> None:
    frame = np.full((360, 640, 3), 90, np.uint8)
    short, long = (
        draw_event(frame, _event_with((name, "calm")), has_time=False) for name in ("irritated", "irritated " * 20)
    )
    changed = (short != 90).any(axis=2)
    assert not ((long != short).any(axis=2) & ~changed).any(), "nothing is drawn outside of the same fields"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=60), min_size=2, max_size=30, unique=True))
def test_classes_may_be_called_as_anybody_likes(labels: list[str]) -> None:
    drawn = draw_event(np.full((180, 320, 3), 90, np.uint8), _event_with(tuple(labels)))
    assert drawn.shape == (180, 320, 3)


@given(st.text(max_size=80), st.floats(20, 400))
def test_fitted_text_fits(text: str, width: float) -> None:
    fitted = fitted_text(text, width=width, height=10)
    assert text_width(fitted, height=10) <= width or fitted == "…"
    assert fitted == text or text.startswith(fitted.removesuffix("…"))


def _event_of(*boxes: BoxXyxy) -> EmotionEvent:
    event = _event((0, 0, 1, 1))
    (face,) = event.faces
    faces = (replace(face, face=replace(face.face, box_xyxy=box, track_id=at)) for at, box in enumerate(boxes))
    return replace(event, faces=tuple(faces))


def test_bars_hide_no_other_face() -> None:
    places = [(60.0, 150.0, 120.0, 230.0), (130.0, 150.0, 190.0, 230.0), (200.0, 150.0, 260.0, 230.0)]
    frame = np.full((360, 640, 3), 90, np.uint8)
    drawn = draw_event(frame, _event_of(*places), has_time=False)
    for left, top, right, bottom in places:
        inside = drawn[int(top) + 4 : int(bottom) - 4, int(left) + 4 : int(right) - 4]
        assert (inside == 90).all()


def test_without_a_face_or_a_time_nothing_is_drawn() -> None:
    frame = np.full((36, 64, 3), 90, np.uint8)
    assert (draw_event(frame, _event_of(), has_time=False) == frame).all()


def test_who_is_unknown_has_no_probability() -> None:
    event = _event((100, 100, 200, 220))
    unknown = replace(event, faces=tuple(replace(face, dominant=UNKNOWN) for face in event.faces))
    frame = np.zeros((360, 640, 3), np.uint8)
    label = (draw_event(frame, unknown) == UNKNOWN_COLOUR).all(axis=2)[:98].any(axis=0)
    percent = (draw_event(frame, event) == EMOTION_COLOURS["happy"]).all(axis=2)[:98].any(axis=0)
    assert 60 < label.sum() < 100
    assert percent.sum() > 80


@given(st.lists(boxes(), max_size=60), st.sampled_from([(1, 1), (30, 2000), (360, 640)]))
@settings(max_examples=30, deadline=None)
def test_any_faces_can_be_drawn(found: list[BoxXyxy], shape: tuple[int, int]) -> None:
    frame = np.zeros((*shape, 3), np.uint8)
    assert draw_event(frame, _event_of(*found)).shape == frame.shape


def _num_changed(event: EmotionEvent, style: OverlayStyle) -> int:
    frame = np.full((360, 640, 3), 90, np.uint8)
    return int((draw_event(frame, event, has_time=False, style=style) != 90).any(axis=2).sum())


def test_styles_draw_more_and_more() -> None:
    box, label, bars = (_num_changed(_event((300, 100, 360, 170)), style) for style in OverlayStyle)
    assert box < label < bars
    with pytest.raises(ConfigError):
        OverlayStyle.of("everything")


def test_in_a_crowd_bars_are_drawn_for_the_largest_faces_only() -> None:
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    crowd = [
        (60.0 + 230 * (at % 8), 80.0 + 330 * (at // 8), 100.0 + 230 * (at % 8), 120.0 + 330 * (at // 8))
        for at in range(24)
    ]
    crowd[10] = (520.0, 410.0, 580.0, 480.0)
    label, bars = (
        (draw_event(frame, _event_of(*crowd), has_time=False, style=style) == EMOTION_COLOURS["sad"]).all(axis=2)
        for style in (OverlayStyle.LABEL, OverlayStyle.BARS)
    )
    assert not label.any(), "everybody is happy"
    rows = cv2.connectedComponents(bars.astype(np.uint8))[0] - 1
    assert rows == 6, "a bar of sadness for each face that has bars"


@given(st.lists(boxes(), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_a_stream_of_events_is_drawn_the_same_again(found: list[BoxXyxy]) -> None:
    frame = np.full((180, 320, 3), 90, np.uint8)
    one, other = Overlay(), Overlay()
    for number in range(1, len(found) + 1):
        event = _event_of(*found[:number])
        assert (one.draw(frame, event) == other.draw(frame, event)).all()


def test_labels_stay_where_they_are_when_the_same_frame_comes_again() -> None:
    frame = np.full((360, 640, 3), 90, np.uint8)
    overlay = Overlay(has_time=False)
    event = _event_of((60.0, 150.0, 120.0, 230.0), (130.0, 150.0, 190.0, 230.0), (200.0, 150.0, 260.0, 230.0))
    first = overlay.draw(frame, event)
    assert (overlay.draw(frame, event) == first).all()


def test_a_face_of_which_nothing_can_be_said_is_not_gray_like_a_calm_one() -> None:
    assert colour_of(UNKNOWN) == UNKNOWN_COLOUR
    assert UNKNOWN_COLOUR not in {*EMOTION_COLOURS.values(), OTHER_COLOUR}
