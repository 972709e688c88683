"""The published schema, its copy in docs/, and every example in the documentation."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.wire.events import (
    event_from_json,
    json_from_event,
    json_from_status,
    json_from_summary,
    status_from_json,
    summary_from_json,
)
from emostream.wire.schema import EVENT_KINDS, EventKind, schema_of
from tests.conftest import REPOSITORY
from tests.schema_check import check_schema, kind_of, validator_of
from tests.strategies import emotion_events, status_events, summary_events

DOCS = REPOSITORY / "docs"


def examples() -> list[Any]:
    """Every JSON block of the pages that show events."""
    found = []
    for page in (REPOSITORY / "README.md", DOCS / "events.md"):
        for number, block in enumerate(re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)):
            found.append(pytest.param(block, id=f"{page.name}-{number}"))
    assert len(found) >= 5
    return found


@pytest.mark.parametrize("text", examples())
def test_an_example_is_valid_and_comes_back_as_it_is(text: str) -> None:
    content = json.loads(text)
    check_schema(content)
    match kind_of(content):
        case "emotion":
            again = json_from_event(event_from_json(text))
        case "status":
            again = json_from_status(status_from_json(text))
        case "summary":
            again = json_from_summary(summary_from_json(text))
    assert json.loads(again) == content


@given(emotion_events)
def test_any_emotion_event_fits_the_schema(event: EmotionEvent) -> None:
    check_schema(json.loads(json_from_event(event)))


@given(status_events)
def test_any_status_event_fits_the_schema(event: StatusEvent) -> None:
    check_schema(json.loads(json_from_status(event)))


@given(summary_events)
def test_any_summary_event_fits_the_schema(event: SummaryEvent) -> None:
    check_schema(json.loads(json_from_summary(event)))


def fields_of(kind: EventKind) -> dict[str, dict[str, Any]]:
    """Name → definition of every field of an event and of its faces."""
    schema = schema_of(kind)
    fields = dict(schema["properties"])
    for definition in schema.get("$defs", {}).values():
        fields |= definition.get("properties", {})
    return fields


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_every_field_is_explained(kind: EventKind) -> None:
    page = (DOCS / "events.md").read_text(encoding="utf-8")
    for name, definition in fields_of(kind).items():
        rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert rows, f"docs/events.md does not explain {name}"
        assert any(definition["description"] in row for row in rows), f"docs/events.md explains {name} differently"


@pytest.mark.parametrize("name", ["captured_at", "faces", "epoch"])
def test_the_schema_notices_a_missing_field(name: str) -> None:
    content = json.loads(examples()[0].values[0])
    del content[name]
    assert not validator_of("emotion").is_valid(content)


def test_the_schema_allows_names_of_later_versions() -> None:
    content = json.loads(examples()[0].values[0])
    content["weather"] = "rain"
    content["faces"][0]["age"] = 40
    check_schema(content)


def test_the_schema_notices_a_wrong_time() -> None:
    content = json.loads(examples()[0].values[0])
    content["captured_at"] = "yesterday"
    assert not validator_of("emotion").is_valid(content)
