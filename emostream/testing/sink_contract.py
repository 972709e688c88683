"""What every sink must do, as a check that plugin authors run in their tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent
from emostream.domain.stream import StreamState
from emostream.publish.sink import EventSink
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


async def check_sink(sink: EventSink, read_back: ReadBack, *, stream_id: str = "contract") -> None:
    """Publish through a sink, close it, and compare with what arrived.

    Checks that: events arrive whole, each once and in order over several calls; an empty call is nothing; status events
    are accepted before, between and after; `close` delivers the rest.

    Args:
        sink: new, with nothing in it; closed afterwards.
        read_back: called once, after `close`.
        stream_id: of the events.

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
    await sink.close()
    arrived = list(await read_back())
    wanted, got = [event.frame_index for event in events], [event.frame_index for event in arrived]
    if got != wanted:
        raise AssertionError(f"expected frames 0 to {wanted[-1]}, each once and in order; got {len(got)}: {got[:20]}…")
    for event, back in zip(events, arrived, strict=True):
        if event != back:
            raise AssertionError(f"frame {event.frame_index} arrived changed: expected {event}, got {back}")
