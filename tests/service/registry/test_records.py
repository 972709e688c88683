"""Records and reports survive their way through Redis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.domain.tuning import Tuning
from emostream.errors import RecordError
from emostream.service.registry.records import (
    StreamRecord,
    StreamReport,
    json_from_record,
    json_from_report,
    record_from_json,
    report_from_json,
)

records = st.builds(
    StreamRecord,
    spec=st.builds(
        StreamSpec,
        stream_id=st.from_regex(r"[a-z0-9][a-zA-Z0-9._-]{0,20}", fullmatch=True),
        url=st.text(min_size=1, max_size=60),
        kind=st.sampled_from(StreamKind),
        every=st.integers(1, 9),
        target_fps=st.none() | st.floats(0.1, 60),
        max_frames=st.none() | st.integers(1, 9),
        pixel_aspect=st.none() | st.floats(0.2, 5.0) | st.sampled_from(["64:45", "2"]),
    ),
    is_paused=st.booleans(),
    tuning=st.builds(
        Tuning,
        smoothing_seconds=st.none() | st.floats(0, 60),
        min_score=st.none() | st.floats(0, 1),
        min_face_pixels=st.none() | st.floats(0, 500),
    ),
    created_epoch=st.integers(0, 2**53),
)


@given(records)
def test_a_record_is_read_back_as_written(record: StreamRecord) -> None:
    assert record_from_json(json_from_record(record)) == record


@given(st.sampled_from(StreamState), st.integers(0, 10**9), st.none() | st.floats(0, 1e6))
def test_a_report_is_read_back_as_written(state: StreamState, num_frames: int, latency_ms: float | None) -> None:
    report = StreamReport(state, detail="é", worker_id="w", epoch=5, num_frames=num_frames, latency_ms=latency_ms)
    assert report_from_json(json_from_report(report)) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"spec": {}}', '{"spec": 1}', '{"state": "odd"}', "\xff"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        record_from_json(text)
    with pytest.raises(RecordError):
        report_from_json(text)


def test_earlier_records_have_no_tuning() -> None:
    text = '{"spec": {"stream_id": "a", "url": "rtsp://camera/1", "kind": "live"}, "is_paused": false}'
    assert record_from_json(text).tuning == Tuning()


def test_later_reports_may_say_more() -> None:
    assert report_from_json('{"state": "running", "num_frames": 3, "mood": "good"}').num_frames == 3


def test_a_record_does_not_show_its_url() -> None:
    spec = StreamSpec("door", "rtsp://user:secret@host/1", StreamKind.LIVE)
    assert "secret" not in repr(StreamRecord(spec))
