"""For programs that use events: subscribe, share the work, sum up, export.

    from emostream.client import EmotionEvents

    for event in EmotionEvents("redis://localhost:6379", streams=["door"]):
        print(event.captured_at, [face.dominant for face in event.faces])

`async for` works as well. `ConsumerGroup` shares streams between several programs and survives their crashes.

`ServiceClient` and `AsyncServiceClient` call a running service: add streams, change them, read their events over HTTP,
classify pictures.

A name is imported when it is first used, so a program loads the libraries of what it uses: a client of the service
loads no Redis, a subscription no HTTP.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emostream.client.derived import Change, ChangeFinder, DominantWindow, RepeatFilter
    from emostream.client.events import EmotionEvents
    from emostream.client.group import BlockingConsumerGroup, ConsumerGroup, Delivery, GroupStats
    from emostream.client.http.calls import ApiError
    from emostream.client.http.client import AsyncServiceClient, ServiceClient
    from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion, StatusEvent, SummaryEvent
    from emostream.domain.summary import StreamSummary, TrackSummary
    from emostream.publish.files.table_writer import frame_from_events, open_table_writer
    from emostream.publish.redis.reader import EventEntry, Start

_MODULE_OF = MappingProxyType(
    {
        "UNKNOWN": "emostream.domain.event",
        "ApiError": "emostream.client.http.calls",
        "AsyncServiceClient": "emostream.client.http.client",
        "BlockingConsumerGroup": "emostream.client.group",
        "Change": "emostream.client.derived",
        "ChangeFinder": "emostream.client.derived",
        "ConsumerGroup": "emostream.client.group",
        "Delivery": "emostream.client.group",
        "DominantWindow": "emostream.client.derived",
        "EmotionEvent": "emostream.domain.event",
        "EmotionEvents": "emostream.client.events",
        "EventEntry": "emostream.publish.redis.reader",
        "FaceEmotion": "emostream.domain.event",
        "GroupStats": "emostream.client.group",
        "RepeatFilter": "emostream.client.derived",
        "ServiceClient": "emostream.client.http.client",
        "Start": "emostream.publish.redis.reader",
        "StatusEvent": "emostream.domain.event",
        "StreamSummary": "emostream.domain.summary",
        "SummaryEvent": "emostream.domain.event",
        "TrackSummary": "emostream.domain.summary",
        "frame_from_events": "emostream.publish.files.table_writer",
        "open_table_writer": "emostream.publish.files.table_writer",
    }
)

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
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
