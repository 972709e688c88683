"""For programs that use events: subscribe, share the work, sum up, export.

    from emostream.client import EmotionEvents

    for event in EmotionEvents("redis://localhost:6379", streams=["door"]):
        print(event.captured_at, [face.dominant for face in event.faces])

`async for` works as well. `ConsumerGroup` shares streams between several programs and survives their crashes.

`ServiceClient` and `AsyncServiceClient` (which needs httpx) speak to a running service: add streams, change them, read
their events over HTTP, classify pictures.
"""

from typing import TYPE_CHECKING, Any

from emostream.client.blocking_group import BlockingConsumerGroup
from emostream.client.changes import Change, ChangeFinder
from emostream.client.delivery import Delivery, GroupStats
from emostream.client.events import EmotionEvents
from emostream.client.group import ConsumerGroup
from emostream.client.repeats import RepeatFilter
from emostream.client.service import ServiceClient
from emostream.client.service_calls import ApiError
from emostream.client.window import DominantWindow
from emostream.event import UNKNOWN, EmotionEvent, FaceEmotion, StatusEvent, SummaryEvent
from emostream.publish.redis_reader import EventEntry, Start
from emostream.publish.table_writer import frame_from_events, open_table_writer
from emostream.summary import StreamSummary, TrackSummary

if TYPE_CHECKING:
    from emostream.client.async_service import AsyncServiceClient

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
        from emostream.client.async_service import AsyncServiceClient

        return AsyncServiceClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
