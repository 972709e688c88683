"""Summaries of intervals: every event in exactly one, counts and means right."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.event import UNKNOWN, EmotionEvent, SummaryEvent
from emostream.domain.summary import RollingSummary
from tests.publish.samples import EVENT, events_of


def summaries_of(events: list[EmotionEvent], *, interval_seconds: float) -> list[SummaryEvent]:
    """All summaries, that of the last interval included."""
    rolling = RollingSummary(interval_seconds=interval_seconds)
    made = [rolling.add(event) for event in events]
    return [summary for summary in [*made, rolling.finish()] if summary is not None]


@given(st.lists(st.floats(0, 3), max_size=50), st.floats(0.1, 5))
def test_every_event_is_in_exactly_one_summary(steps: list[float], interval_seconds: float) -> None:
    at = 0.0
    events = []
    for index, step in enumerate(steps):
        at += step
        faces = EVENT.faces * (index % 3)
        events.append(replace(EVENT, frame_index=index, pts_seconds=at, num_dropped=index % 2, faces=faces))
    summaries = summaries_of(events, interval_seconds=interval_seconds)
    assert sum(summary.num_frames for summary in summaries) == len(events)
    assert sum(summary.num_faces for summary in summaries) == sum(len(event.faces) for event in events)
    assert sum(summary.num_dropped for summary in summaries) == sum(event.num_dropped for event in events)
    assert [summary.summary_index for summary in summaries] == list(range(len(summaries)))
    for summary in summaries:
        assert summary.ended_pts_seconds - summary.started_pts_seconds < interval_seconds
        assert sum(summary.dominant_counts.values()) == summary.num_faces
        assert sum(summary.dominant_shares.values()) == pytest.approx(1 if summary.num_faces else 0)


def test_counts_people_and_means() -> None:
    known = EVENT.faces[0]
    unknown = replace(known, dominant=UNKNOWN, face=replace(known.face, track_id=4))
    events = [replace(event, faces=(known, unknown)) for event in events_of("door", range(10))]
    (summary,) = summaries_of(events, interval_seconds=60)
    assert (summary.num_frames, summary.num_faces, summary.num_tracks) == (10, 20, 2)
    assert Counter(summary.dominant_counts) == {"happy": 10, UNKNOWN: 10}
    assert summary.mean_probabilities["happy"] == pytest.approx(0.9)
    assert (summary.started_at, summary.ended_at) == (events[0].captured_at, events[-1].captured_at)


def test_time_that_goes_back_begins_a_new_summary() -> None:
    events = [replace(EVENT, frame_index=index, pts_seconds=at) for index, at in enumerate([10.0, 11.0, 1.0, 2.0])]
    assert [summary.num_frames for summary in summaries_of(events, interval_seconds=60)] == [2, 2]


def test_nothing_gives_no_summary() -> None:
    assert summaries_of([], interval_seconds=1) == []
    with pytest.raises(ValueError, match="interval_seconds"):
        RollingSummary(interval_seconds=0)
