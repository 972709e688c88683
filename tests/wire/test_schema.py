"""The published schema, its copy in docs/, and every example in the documentation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from docs.generators.events import PAGE, renewed_page
from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.event_fields import writer_of
from emostream.domain.fields import Count, Digits, Published
from emostream.domain.voice import VoiceEvent
from emostream.wire.event_models import model_of, reader_of
from emostream.wire.events import (
    event_from_json,
    json_from_event,
    json_from_status,
    json_from_summary,
    json_from_voice,
    status_from_json,
    summary_from_json,
    voice_from_json,
)
from emostream.wire.schema import EVENT_KINDS, schema_of
from tests.conftest import REPOSITORY
from tests.schema_check import check_schema, kind_of, validator_of
from tests.strategies import emotion_events, status_events, summary_events, voice_events

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
        case "voice":
            again = json_from_voice(voice_from_json(text))
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


@given(voice_events)
def test_any_voice_event_fits_the_schema_and_comes_back(event: VoiceEvent) -> None:
    text = json_from_voice(event)
    check_schema(json.loads(text))
    assert json_from_voice(voice_from_json(text)) == text


def test_the_tables_in_docs_are_those_of_the_schema() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed_page(page), "run `python -m docs.generators.schemas`"
    for kind in EVENT_KINDS:
        for name in schema_of(kind)["properties"]:
            assert f"| `{name}` |" in page


def test_every_field_has_a_description() -> None:
    for kind in EVENT_KINDS:
        schema = schema_of(kind)
        for definition in (schema, *schema.get("$defs", {}).values()):
            for name, field in definition.get("properties", {}).items():
                assert field["description"], name


@dataclass(frozen=True, slots=True)
class _Gaze:
    yaw_degrees: Annotated[float, Digits(1)]
    """To the left."""
    is_open: Annotated[bool, Published("open", is_optional=True)] = True
    """Whether the eyes are open."""


@dataclass(frozen=True, slots=True)
class _Look:
    gaze: _Gaze
    num_blinks: Count | None = None
    """Since the last one."""
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    """When."""


@given(
    st.builds(
        _Look,
        st.builds(_Gaze, st.floats(-90, 90), st.booleans()),
        st.none() | st.integers(0, 2**53 - 1),
        st.datetimes(timezones=st.just(UTC)),
    )
)
def test_whatever_is_declared_is_written_checked_and_read(look: _Look) -> None:
    write = writer_of(_Look, conversions={datetime: datetime.isoformat}, first={"version": 1})
    content = write(look)
    assert list(content)[:4] == ["version", "yaw_degrees", "num_blinks", "at"]
    assert content["yaw_degrees"] == round(look.gaze.yaw_degrees, 1)
    assert ("open" in content) == (not look.gaze.is_open)
    read = reader_of(_Look)(model_of(_Look, "Look").model_validate_json(json.dumps(content)))
    assert read == replace(look, gaze=replace(look.gaze, yaw_degrees=content["yaw_degrees"]))


def test_what_is_declared_bounds_what_is_written_and_read() -> None:
    write = writer_of(_Look, conversions={datetime: datetime.isoformat})
    with pytest.raises(ValueError, match="2⁵³"):
        write(_Look(_Gaze(0.0), 2**53))
    model = model_of(_Look, "Look")
    assert model.model_json_schema()["required"] == ["yaw_degrees", "num_blinks", "at"]
    assert model.model_json_schema()["properties"]["open"]["description"] == "Whether the eyes are open."
    for wrong in ({"yaw_degrees": "1"}, {"num_blinks": -1}, {"at": "2026-01-01T00:00:00"}):
        content = {"yaw_degrees": 1.0, "num_blinks": None, "at": "2026-01-01T00:00:00Z"} | wrong
        with pytest.raises(ValidationError):
            model.model_validate_json(json.dumps(content))


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
