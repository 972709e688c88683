"""Conformance check for sinks, for the tests of plugin authors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent
from emostream.domain.stream import StreamState
from emostream.errors import SinkUnavailableError
from emostream.publish.sink import Delivery, EventSink, readings_of
from emostream.telemetry.metrics import METRICS
from emostream.testing.fakes import START, face_at

ReadBack = Callable[[], Awaitable[Sequence[EmotionEvent]]]
"""Returns the emotion events that arrived at the destination, in order."""


def contract_events(stream_id: str, *, num_events: int = 300) -> list[EmotionEvent]:
    """Events of one stream as a pipeline makes them: some with faces, some without."""
    scores = EmotionScores(EMOTIONS, (0.01, 0.0, 0.01, 0.91, 0.01, 0.02, 0.04))
    face = FaceEmotion(replace(face_at(40, 30), track_id=1), scores, scores, quality=("small",), zones=("door",))
    return [
        EmotionEvent(
            stream_id=stream_id,
            epoch=7,
            frame_index=index,
            pts_seconds=index / 25,
            captured_at=START + timedelta(milliseconds=40 * index),
            frame_width=640,
            frame_height=360,
            model_name="contract",
            model_version="1",
            faces=(face,) * (index % 2),
            num_dropped=2 if index == 5 else 0,
        )
        for index in range(num_events)
    ]


async def check_sink(
    sink: EventSink, read_back: ReadBack, *, stream_id: str = "contract", is_whole: bool = True
) -> None:
    """Publish through a sink, close it, and compare with what arrived.

    Checks that: events arrive complete, once and in order over several calls; a call without events does nothing;
    status events are accepted before, between and after; its counters are declared metrics; `close` delivers the rest.

    Args:
        sink: new and empty; closed afterwards.
        read_back: called once, after `close`.
        stream_id: of the events.
        is_whole: compare all fields; otherwise (a table of faces has only some) only the frame indexes.

    Raises:
        AssertionError: a check failed.
    """
    events = contract_events(stream_id)
    status = StatusEvent(stream_id, 7, StreamState.RUNNING, START)
    await sink.publish_status(status)
    await sink.publish([])
    for start, end in ((0, 1), (1, 9), (9, 9), (9, len(events))):
        await sink.publish(events[start:end])
        await sink.publish_status(replace(status, at=START + timedelta(seconds=1 + start)))
    _check_readings(sink)
    await sink.close()
    arrived = list(await read_back())
    wanted, got = [event.frame_index for event in events], [event.frame_index for event in arrived]
    if got != wanted:
        raise AssertionError(f"expected frames 0 to {wanted[-1]}, each once and in order; got {len(got)}: {got[:20]}…")
    for event, back in zip(events, arrived, strict=True):
        if is_whole and event != back:
            raise AssertionError(f"frame {event.frame_index} changed on the way: expected {event}, got {back}")


async def check_sink_repeats(
    sink: EventSink, read_back: ReadBack, *, delivery: Delivery, stream_id: str = "repeats"
) -> None:
    """Publish some events twice, as after a failure that left it unclear what arrived; arguments as for `check_sink`.

    Checks that all arrive, in order, and that a sink that promises `EXACTLY_ONCE` delivers none twice.

    Raises:
        AssertionError: a check failed.
    """
    events = contract_events(stream_id, num_events=20)
    await sink.publish(events[:15])
    await sink.publish(events[5:])
    await sink.close()
    _check_arrived([event.frame_index for event in await read_back()], num_events=len(events), delivery=delivery)


async def check_sink_absence(
    sink: EventSink,
    read_back: ReadBack,
    absence: Callable[[], AbstractAsyncContextManager[object]],
    *,
    delivery: Delivery,
    stream_id: str = "absence",
) -> None:
    """Publish while the receiver is unavailable, and again when it is back.

    Checks that the sink raises `SinkUnavailableError`, and that the same events, sent again, all arrive in order.

    Args:
        sink: new, with a short retry limit; closed afterwards.
        read_back: called once, after `close`.
        absence: context in which the receiver is unavailable.
        delivery: what the sink promises.
        stream_id: of the events.

    Raises:
        AssertionError: a check failed.
    """
    events = contract_events(stream_id, num_events=20)
    async with absence():
        try:
            await sink.publish(events[:10])
        except SinkUnavailableError:
            pass
        else:
            raise AssertionError("expected SinkUnavailableError while the receiver is unavailable, got no error")
    await sink.publish(events[:10])
    await sink.publish(events[10:])
    await sink.close()
    _check_arrived([event.frame_index for event in await read_back()], num_events=len(events), delivery=delivery)


def _check_readings(sink: EventSink) -> None:
    for reading in readings_of(sink):
        metric = METRICS.get(reading.metric)
        if metric is None or set(metric.labels) != set(reading.labels):
            raise AssertionError(f"expected a metric of emostream/telemetry/metrics.py with its labels, got {reading}")


def _check_arrived(indexes: Sequence[int], *, num_events: int, delivery: Delivery) -> None:
    firsts = list(dict.fromkeys(indexes))
    if firsts != list(range(num_events)):
        raise AssertionError(f"expected every frame from 0 to {num_events - 1}, in order; got {indexes}")
    if delivery is Delivery.EXACTLY_ONCE and any(after <= before for before, after in pairwise(indexes)):
        raise AssertionError(f"expected every frame once; got {indexes}")
