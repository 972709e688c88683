"""Many streams in one loop: each ends, fails, pauses and stops on its own, and says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from emostream.decode.resuming import ResumePoint
from emostream.decode.source import FrameSource
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import ConfigError, DecodeError, EventRejectedError, SinkUnavailableError
from emostream.service.registry.records import StreamRecord
from emostream.service.verdicts import Verdict
from emostream.service.worker.host import Outcome, StopReason, StreamHost
from emostream.testing.fakes import CollectingSink, ScriptedSource, gray_frames
from tests.service.streams import EndlessSource, ScriptedParts, live_record


async def until(condition: Callable[[], object], *, timeout_seconds: float = 5.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def sink() -> CollectingSink:
    return CollectingSink()


@pytest.fixture
def parts() -> ScriptedParts:
    return ScriptedParts()


@pytest.fixture
async def host(parts: ScriptedParts, sink: CollectingSink) -> AsyncIterator[StreamHost]:
    host = StreamHost(parts, sink=sink, worker_id="w1")
    yield host
    await host.stop_all(StopReason.REMOVED)


def file_record(stream_id: str = "clip") -> StreamRecord:
    return StreamRecord(StreamSpec(stream_id, "/clip.mp4", StreamKind.FILE))


def from_file(source: FrameSource) -> ScriptedParts:
    return ScriptedParts(lambda spec: source if spec.kind is StreamKind.FILE else EndlessSource())


async def test_streams_run_beside_each_other_and_are_reported(host: StreamHost, sink: CollectingSink) -> None:
    for number in range(3):
        host.start(live_record(f"s{number}"), epoch=number + 1)
    await until(lambda: all(report.num_frames > 3 for report in host.reports().values()))
    report = host.reports()["s2"]
    assert (report.state, report.worker_id, report.epoch) == (StreamState.RUNNING, "w1", 3)
    assert report.num_faces >= report.num_frames > 0
    assert report.measured_fps > 0
    assert report.latency_ms is not None
    assert {event.epoch for event in sink.events if event.stream_id == "s2"} == {3}


async def test_a_file_ends_by_itself_and_goes_on_after_what_is_published(sink: CollectingSink) -> None:
    host = StreamHost(from_file(ScriptedSource(gray_frames(20))), sink=sink, worker_id="w1")
    host.start(file_record(), epoch=1, after=ResumePoint(11, 11 / 25))
    await until(lambda: sink.statuses and sink.statuses[-1].state is StreamState.ENDED)
    await until(lambda: (ended := host.take_ended()) and ended["clip"].outcome is Outcome.ENDED)
    assert [event.frame_index for event in sink.events] == list(range(12, 20))
    assert host.held == {}


async def test_the_failure_of_one_stream_touches_no_other(sink: CollectingSink) -> None:
    broken = ScriptedSource(gray_frames(3), error=DecodeError("file://user:secret@x is damaged"))
    host = StreamHost(from_file(broken), sink=sink, worker_id="w1")
    host.start(live_record(), epoch=1)
    host.start(file_record(), epoch=2)
    await until(lambda: host._streams["clip"].outcome is Outcome.GIVE_BACK)
    ended = host.take_ended()["clip"]
    report = ended.report
    assert (ended.verdict, ended.is_own_trouble, report.state) == (Verdict.DAMAGED, False, StreamState.PENDING)
    assert "damaged" in report.detail
    assert "secret" not in report.detail
    before = host.reports()["door"].num_frames
    await until(lambda: host.reports()["door"].num_frames > before)
    await host.stop_all(StopReason.REMOVED)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (EventRejectedError("a newer run publishes"), Outcome.DEPOSED),
        (SinkUnavailableError("Redis is away"), Outcome.RETRY),
        (ConfigError("Redis refused the login"), Outcome.RETRY),
        (RuntimeError("a defect"), Outcome.GIVE_BACK),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.value,
)
async def test_what_the_sink_raises_decides_the_outcome(
    host: StreamHost, sink: CollectingSink, error: Exception, outcome: Outcome
) -> None:
    sink.failures.append(error)
    host.start(live_record(), epoch=1)
    await until(lambda: host._streams["door"].outcome is not None)
    assert host.take_ended()["door"].outcome is outcome


@pytest.mark.parametrize("reason", list(StopReason))
async def test_stopping_says_why(host: StreamHost, sink: CollectingSink, reason: StopReason) -> None:
    host.start(live_record(), epoch=1)
    await until(lambda: sink.events)
    await host.stop("door", reason)
    assert host.held == {}
    last = sink.statuses[-1]
    expected = (StreamState.RUNNING, "") if reason.state is None else (reason.state, reason.value)
    assert (last.state, last.detail) == expected


async def test_pause_resume_and_rate_need_no_new_connection(
    host: StreamHost, parts: ScriptedParts, sink: CollectingSink
) -> None:
    record = live_record()
    host.start(record, epoch=1)
    source = parts.sources["door"]
    await until(lambda: sink.events)
    assert host.adjust(replace(record, is_paused=True))
    await asyncio.sleep(0.1)
    num_paused = len(sink.events)
    await asyncio.sleep(0.2)
    assert len(sink.events) == num_paused
    assert host.adjust(replace(record, spec=replace(record.spec, every=3)))
    await until(lambda: len(sink.events) > num_paused + 3)
    assert parts.sources["door"] is source
    assert not host.adjust(replace(record, spec=replace(record.spec, url="rtsp://other/1")))


async def test_reconnecting_is_reported_once_for_each_change(
    host: StreamHost, parts: ScriptedParts, sink: CollectingSink
) -> None:
    host.start(live_record(), epoch=1)
    await until(lambda: sink.events)
    tell = parts.observers["door"]
    for state, detail in (
        (StreamState.RECONNECTING, "rtsp://user:secret@camera is gone"),
        (StreamState.RECONNECTING, "still gone"),
        (StreamState.RUNNING, ""),
    ):
        await asyncio.to_thread(tell, state, detail)
    await until(lambda: len(sink.statuses) == 3)
    assert [event.state for event in sink.statuses] == [
        StreamState.RUNNING,
        StreamState.RECONNECTING,
        StreamState.RUNNING,
    ]
    assert "secret" not in sink.statuses[1].detail


async def test_starting_and_stopping_leaves_no_thread_or_task(host: StreamHost, sink: CollectingSink) -> None:
    await asyncio.to_thread(lambda: None)  # the loop's own threads stay
    for number in range(100):
        host.start(live_record(), epoch=number + 1)
        if number % 10 == 0:
            sink.events.clear()
            await until(lambda: sink.events)
        await host.stop("door", StopReason.REMOVED)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("emostream-door")]
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("stream ")] == []
