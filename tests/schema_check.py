"""Every event that is published or collected anywhere in the tests is checked against the published schema."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jsonschema_rs
import pytest

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.event_content import compact_json
from emostream.domain.voice import VoiceEvent
from emostream.testing.fakes import CollectingSink
from emostream.wire import events as wire
from emostream.wire.schema import EventKind, schema_of


@functools.cache
def validator_of(kind: EventKind) -> jsonschema_rs.Validator:
    """A validator of one kind of event; formats such as date-time are checked as well."""
    return jsonschema_rs.validator_for(schema_of(kind), validate_formats=True)


def kind_of(content: dict[str, Any]) -> EventKind:
    """Which kind of event this is, by the name only it has."""
    if "faces" in content:
        return "emotion"
    if "window_index" in content:
        return "voice"
    return "status" if "state" in content else "summary"


def check_schema(content: dict[str, Any]) -> None:
    """Fail where the content is not what the schema promises."""
    error = next(validator_of(kind_of(content)).iter_errors(content), None)
    if error is not None:
        path = "/".join(str(part) for part in error.instance_path)
        raise AssertionError(f"an event was published against its schema, at {path}: {error.message}")


@pytest.fixture(autouse=True)
def checked_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check whatever is encoded; sinks of the tests that do not encode check by encoding."""

    def checking(content: dict[str, Any]) -> str:
        text = compact_json(content)  # first: it refuses numbers that JSON does not have
        check_schema(content)
        return text

    monkeypatch.setattr(wire, "compact_json", checking)
    collect, collect_status = CollectingSink.publish, CollectingSink.publish_status
    collect_summary, collect_voice = CollectingSink.publish_summary, CollectingSink.publish_voice

    async def publish(self: CollectingSink, events: Sequence[EmotionEvent]) -> None:
        for event in events:
            wire.json_from_event(event)
        await collect(self, events)

    async def publish_status(self: CollectingSink, event: StatusEvent) -> None:
        wire.json_from_status(event)
        await collect_status(self, event)

    async def publish_summary(self: CollectingSink, event: SummaryEvent) -> None:
        wire.json_from_summary(event)
        await collect_summary(self, event)

    async def publish_voice(self: CollectingSink, event: VoiceEvent) -> None:
        wire.json_from_voice(event)
        await collect_voice(self, event)

    monkeypatch.setattr(CollectingSink, "publish", publish)
    monkeypatch.setattr(CollectingSink, "publish_voice", publish_voice)
    monkeypatch.setattr(CollectingSink, "publish_summary", publish_summary)
    monkeypatch.setattr(CollectingSink, "publish_status", publish_status)
