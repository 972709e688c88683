"""What others wrote is text on a terminal: no markup, no control characters, nothing left out."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from emostream.cli.tables import change_line, event_line, print_record, print_records, status_line
from emostream.client import Change
from emostream.domain.emotion import EmotionScores
from emostream.domain.stream import StreamState
from tests.publish.samples import EVENT, STATUS

HOSTILE = ["[/x]", "[bold]happy[/bold]", "[link=http://evil]x[/link]", "a\\", "\x1b[2J"]


def _shown(markup: str) -> str:
    file = io.StringIO()
    Console(file=file, force_terminal=False, highlight=False, emoji=False, soft_wrap=True).print(markup)
    return file.getvalue()


@given(st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_any_name_in_an_event_is_shown_as_it_is(name: str) -> None:
    scores = EmotionScores((name, f"{name}!"), (0.75, 0.25))
    face = replace(EVENT.faces[0], scores=scores, smoothed=scores, dominant=name)
    event = replace(EVENT, stream_id=name, faces=(face,))
    status = replace(STATUS, stream_id=name, detail=name, state=StreamState.RUNNING)
    printed = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    for line in (event_line(event), change_line(Change(event, 1, name, name, face)), status_line(status)):
        assert _shown(line).count(printed) >= 2
        assert "\x1b" not in _shown(line)


@pytest.mark.parametrize("json", [True, False])
def test_addresses_in_brackets_are_not_left_out(json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    stream = {"id": "door", "url": "rtsp://[fd00:a::1]:554/x", "num_frames": 5, "detail": None}
    print_record(stream, json=json)
    print_records([stream], columns=["id", "num_frames", "url"], json=json)
    shown = capsys.readouterr().out
    assert shown.count("rtsp://[fd00:a::1]:554/x") == 2
    assert ("None" in shown) is False
