"""For programs that use events: subscribe, share the work, sum up, export.

    from emostream.client import EmotionEvents

    for event in EmotionEvents("redis://localhost:6379", streams=["door"]):
        print(event.captured_at, [face.dominant for face in event.faces])

`async for` works as well. `ConsumerGroup` shares streams between several programs and survives their crashes.

`ServiceClient` and `AsyncServiceClient` (which needs httpx) speak to a running service: add streams, change them, read
their events over HTTP, classify pictures.
"""

from typing import TYPE_CHECKING, Any

from emostream.client.derived import Change, ChangeFinder, DominantWindow, RepeatFilter
from emostream.client.events import EmotionEvents
from emostream.client.group import BlockingConsumerGroup, ConsumerGroup, Delivery, GroupStats
from emostream.client.http.calls import ApiError
from emostream.client.http.client import ServiceClient
from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion, StatusEvent, SummaryEvent
from emostream.domain.summary import StreamSummary, TrackSummary
from emostream.publish.files.table_writer import frame_from_events, open_table_writer
from emostream.publish.redis.reader import EventEntry, Start

if TYPE_CHECKING:
    from emostream.client.http.async_client import AsyncServiceClient

__all__ = [
    "UNKNOWN",
    "ApiError",
    "AsyncServiceClient",
    "BlockingConsumerGroup",
    "Change",
    "ChangeFinder",
    "ConsumerGroup",
    "Delivery",
    "DominantWindow",
    "EmotionEvent",
    "EmotionEvents",
    "EventEntry",
    "FaceEmotion",
    "GroupStats",
    "RepeatFilter",
    "ServiceClient",
    "Start",
    "StatusEvent",
    "StreamSummary",
    "SummaryEvent",
    "TrackSummary",
    "frame_from_events",
    "open_table_writer",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncServiceClient":  # only now, because it needs an extra
        from emostream.client.http.async_client import AsyncServiceClient

        return AsyncServiceClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
