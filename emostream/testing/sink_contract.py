"""What every sink must do, as a check that plugin authors run in their tests."""

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
"""Gives the emotion events that arrived at the other end, in order."""


def contract_events(stream_id: str, *, num_events: int = 300) -> list[EmotionEvent]:
    """Events of one stream as a pipeline makes them: some frames with faces, some without."""
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

    Checks that: events arrive whole, each once and in order over several calls; an empty call is nothing; status events
    are accepted before, between and after; what it counts is declared as a metric; `close` delivers the rest.

    Args:
        sink: new, with nothing in it; closed afterwards.
        read_back: called once, after `close`.
        stream_id: of the events.
        is_whole: every field comes back; a table of faces has only some, so its events are compared by frame index.

    Raises:
        AssertionError: the sink breaks the contract.
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
            raise AssertionError(f"frame {event.frame_index} arrived changed: expected {event}, got {back}")


async def check_sink_repeats(
    sink: EventSink, read_back: ReadBack, *, delivery: Delivery, stream_id: str = "repeats"
) -> None:
    """Publish some events again, as after a failure that left unclear what arrived; arguments as of `check_sink`.

    Checks that all arrive, in order, and that a sink that promises `EXACTLY_ONCE` delivers none twice.

    Raises:
        AssertionError: the sink breaks its promise.
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
    """Publish while the receiver is away, and again when it is back.

    Checks that the sink says `SinkUnavailableError`, and that the same events, sent again, arrive all and in order.

    Args:
        sink: new, and set to give up soon; closed afterwards.
        read_back: called once, after `close`.
        absence: the receiver is away within.
        delivery: what the sink promises.
        stream_id: of the events.

    Raises:
        AssertionError: the sink breaks the contract.
    """
    events = contract_events(stream_id, num_events=20)
    async with absence():
        try:
            await sink.publish(events[:10])
        except SinkUnavailableError:
            pass
        else:
            raise AssertionError("expected SinkUnavailableError while the receiver is away; the sink took the events")
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
