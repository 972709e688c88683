"""`emostream events`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from emostream.cli.events import events_app
from emostream.wire.schema import EVENT_KINDS, EventKind, schema_of


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_prints_the_schema(kind: EventKind) -> None:
    outcome = CliRunner().invoke(events_app, ["schema", "--kind", kind])
    assert outcome.exit_code == 0
    assert json.loads(outcome.output) == schema_of(kind)


def test_refuses_another_kind() -> None:
    assert CliRunner().invoke(events_app, ["schema", "--kind", "weather"]).exit_code == 2
