"""Changes only, windows, repeats: pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.client import UNKNOWN, ChangeFinder, DominantWindow, EmotionEvent, RepeatFilter
from emostream.domain.emotion import EMOTIONS
from tests.publish.samples import EVENT

names = st.sampled_from([*EMOTIONS, UNKNOWN])
pictures = st.lists(st.dictionaries(st.integers(1, 3), names), max_size=40)


def events_with(pictures: list[dict[int, str]], *, step: float = 0.25, stream_id: str = "door") -> list[EmotionEvent]:
    """Track id → dominant emotion, per frame."""
    face = EVENT.faces[0]
    return [
        replace(
            EVENT,
            stream_id=stream_id,
            frame_index=index,
            pts_seconds=index * step,
            faces=tuple(
                replace(face, dominant=name, face=replace(face.face, track_id=track_id))
                for track_id, name in sorted(picture.items())
            ),
        )
        for index, picture in enumerate(pictures)
    ]


@given(pictures)
def test_changes_tell_the_whole_story(pictures: list[dict[int, str]]) -> None:
    finder = ChangeFinder(absent_seconds=0)
    state: dict[int, str] = {}
    for event, picture in zip(events_with(pictures), pictures, strict=True):
        for change in finder.add(event):
            assert state.get(change.track_id) == change.before != change.after
            if change.after is None:
                del state[change.track_id]
            else:
                state[change.track_id] = change.after
        assert state == picture


def test_a_short_absence_is_none() -> None:
    finder = ChangeFinder(absent_seconds=1.0)
    pictures = [{1: "happy"}, {}, {}, {1: "happy"}, {}, {}, {}, {}, {}]
    changes = [change for event in events_with(pictures) for change in finder.add(event)]
    assert [(change.before, change.after) for change in changes] == [(None, "happy"), ("happy", None)]


def test_a_new_run_begins_without_tracks_and_other_streams_are_not_touched() -> None:
    finder = ChangeFinder()
    finder.add(events_with([{1: "happy"}])[0])
    finder.add(events_with([{1: "sad"}], stream_id="hall")[0])
    (later,) = events_with([{1: "happy"}])
    changes = finder.add(replace(later, epoch=EVENT.epoch + 1))
    assert [(change.before, change.after) for change in changes] == [("happy", None), (None, "happy")]


@given(pictures, st.floats(0.1, 5))
def test_a_window_counts_what_is_in_it(pictures: list[dict[int, str]], seconds: float) -> None:
    window = DominantWindow(seconds=seconds)
    events = events_with(pictures)
    for event in events:
        window.add(event)
    if events:
        inside = [event for event in events if events[-1].pts_seconds - event.pts_seconds <= seconds]
        counts = Counter(face.dominant for event in inside for face in event.faces)
        assert window.shares == pytest.approx({name: count / counts.total() for name, count in counts.items()})
        known = {name: count for name, count in counts.items() if name != UNKNOWN}
        if known:
            assert window.dominant is not None
            assert known[window.dominant] == max(known.values())
        else:
            assert window.dominant == (UNKNOWN if counts else None)


def test_a_window_may_watch_one_person() -> None:
    window = DominantWindow(seconds=10, track_id=2)
    for event in events_with([{1: "happy", 2: "sad"}] * 3):
        window.add(event)
    assert window.shares == {"sad": 1.0}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=60))
def test_a_repeat_is_what_does_not_come_after_the_last(places: list[tuple[int, int]]) -> None:
    repeats = RepeatFilter()
    passed = [place for place in places if repeats.is_new(replace(EVENT, epoch=place[0], frame_index=place[1]))]
    assert passed == sorted(set(passed))
    if places:
        assert repeats.last == {EVENT.stream_id: max(places)}
