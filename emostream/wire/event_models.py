"""Models of the JSON of events: they check what comes in, and the JSON Schema is made of them.

Made of the declarations in `domain/event.py` and `domain/face.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent, SummaryEvent
from emostream.wire.event_fields import model_of, reader_of

SCHEMA_VERSION: Literal[1] = 1


def _version(description: str) -> dict[str, Any]:
    return {"schema_version": (Literal[1], Field(description=description))}


FaceWire = model_of(FaceEmotion, "FaceWire")
EventWire = model_of(
    EmotionEvent,
    "EventWire",
    parts={FaceEmotion: Annotated[FaceWire, AfterValidator(reader_of(FaceEmotion))]},
    first=_version("Grows only when a reader of the old version would misunderstand an event."),
)
StatusWire = model_of(StatusEvent, "StatusWire", first=_version("As in an emotion event."))
SummaryWire = model_of(SummaryEvent, "SummaryWire", first=_version("As in an emotion event."))
