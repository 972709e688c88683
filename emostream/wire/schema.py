"""The JSON Schema of what is published, for programs in other languages and for tests."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from emostream.domain.event_content import SCHEMA_VERSION
from emostream.wire.event_models import EventWire, StatusWire, SummaryWire, VoiceWire

EventKind = Literal["emotion", "status", "summary", "voice"]
"""The four kinds of events."""

EVENT_KINDS: tuple[EventKind, ...] = ("emotion", "status", "summary", "voice")

_MODELS: dict[EventKind, type[BaseModel]] = {
    "emotion": EventWire,
    "status": StatusWire,
    "summary": SummaryWire,
    "voice": VoiceWire,
}
_TITLES: dict[EventKind, str] = {
    "emotion": "emostream emotion event",
    "status": "emostream status event",
    "summary": "emostream summary event",
    "voice": "emostream voice event",
}


def schema_of(kind: EventKind) -> dict[str, Any]:
    """The schema of one kind of event, JSON Schema draft 2020-12.

    It allows names it does not list, because later versions may add some.
    """
    schema = _MODELS[kind].model_json_schema()
    _tidy(schema)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:emostream:schema:{kind}-event:{SCHEMA_VERSION}",
        **schema,
        "title": _TITLES[kind],
    }


def _tidy(node: Any) -> None:
    """Titles that only repeat the names go; line breaks of the source do not belong in descriptions."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        if isinstance(node.get("description"), str):
            node["description"] = " ".join(node["description"].split())
        if node.get("default") == []:
            del node["default"]
        for child in node.values():
            _tidy(child)
    elif isinstance(node, list):
        for child in node:
            _tidy(child)
