"""Spans and bins say what was seen, and stay bounded."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.emotion import EMOTIONS
from emostream.render.report.timeline import MAX_BINS, StreamTimeline
from tests.render.report.events import acted


def test_a_span_lasts_until_the_next_one_or_until_the_face_is_away() -> None:
    timeline = StreamTimeline()
    script = ["happy"] * 25 + ["sad"] * 25 + [None] * 50 + ["sad"] * 25
    for event in acted(script):
        timeline.add(event)
    spans = timeline.persons[0].spans
    assert [span.emotion for span in spans] == ["happy", "sad", "sad"]
    assert [(span.start_seconds, span.end_seconds) for span in spans] == [(0, 1), (1, 1.96), (4, 4.96)]
    assert [span.num_frames for span in spans] == [25, 25, 25]
    assert spans[0].confidence == pytest.approx(0.94)


@pytest.mark.parametrize("fps", [0.1, 0.5, 1, 7, 9.9, 10, 25, 60])
def test_a_face_in_every_frame_covers_the_whole_time_at_any_rate(fps: float) -> None:
    timeline = StreamTimeline()
    for event in acted(["happy"] * 60 + [None] * 40 + ["sad"] * 20, fps=fps):
        timeline.add(event)
    person = timeline.persons[0]
    assert [(span.emotion, span.num_frames) for span in person.spans] == [("happy", 60), ("sad", 20)]
    intervals = timeline.intervals(person.bins)
    holes = [after.start_seconds - before.end_seconds for before, after in pairwise(intervals)]
    assert sum(hole > 1e-9 for hole in holes) == 1, "one absence"
    assert max(holes) == pytest.approx(41 / fps, abs=max(timeline.bin_seconds, 1 / fps) * 2)


def test_a_pause_of_the_source_is_no_presence() -> None:
    timeline = StreamTimeline()
    events = acted(["happy"] * 100)
    for event in [*events, *(replace(event, pts_seconds=event.pts_seconds + 600) for event in events)]:
        timeline.add(event)
    person = timeline.persons[0]
    assert [span.num_frames for span in person.spans] == [100, 100]
    first, last = timeline.intervals(person.bins)[0], timeline.intervals(person.bins)[-1]
    assert first.end_seconds < 100
    assert last.start_seconds > 500


script = st.lists(st.sampled_from([*EMOTIONS, None]), min_size=1, max_size=400)


@given(script, st.sampled_from([0.001, 0.5, 25.0]))
def test_no_frame_is_lost_and_memory_is_bounded(script: list[str | None], fps: float) -> None:
    timeline = StreamTimeline()
    for event in acted(script, fps=fps):
        timeline.add(event)
    num_seen = sum(emotion is not None for emotion in script)
    persons = list(timeline.persons.values())
    assert sum(one.num_frames for person in persons for one in person.bins.values()) == num_seen
    assert sum(span.num_frames for person in persons for span in person.spans) == num_seen
    assert all(0 <= index < MAX_BINS for person in persons for index in person.bins)
    for person in persons:
        for one in person.bins.values():
            assert sum(one.mean_of(label) for label in EMOTIONS) == pytest.approx(1)


def test_short_spans_go_first() -> None:
    timeline = StreamTimeline()
    for event in acted(["neutral"] * 100 + ["happy", "sad"] * 1000 + ["angry"] * 100):
        timeline.add(event)
    person = timeline.persons[0]
    assert len(person.spans) + person.num_lost_spans == 2002
    assert len(person.spans) <= 400
    assert [person.spans[0].emotion, person.spans[-1].emotion] == ["neutral", "angry"]
