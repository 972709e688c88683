"""What others wrote is text on a terminal: no markup, no control characters, nothing left out."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from emostream.cli.options import screen
from emostream.cli.tables import (
    MAX_PEOPLE,
    Column,
    change_line,
    event_line,
    print_record,
    print_records,
    status_line,
    summary_table,
)
from emostream.client import Change
from emostream.domain.emotion import EmotionScores
from emostream.domain.stream import StreamState
from emostream.domain.summary import StreamSummary
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
    columns = [Column("id"), Column("num_frames"), Column("url", is_detail=True)]
    print_records([stream], columns=columns, json=json, empty="none")
    shown = capsys.readouterr().out
    assert shown.count("rtsp://[fd00:a::1]:554/x") == 2
    assert ("None" in shown) is False


COLUMNS = [*map(Column, ("id", "state", "num_frames", "num_faces", "latency_ms")), Column("detail", is_detail=True)]


@given(
    ids=st.lists(st.text("abcdefgh-0123456789", min_size=1, max_size=64), min_size=1, max_size=4),
    number=st.integers(0, 10**12),
    detail=st.text("abc ", max_size=300),
    width=st.integers(80, 240),
)
def test_no_id_and_no_number_of_a_list_is_cut_or_folded(ids: list[str], number: int, detail: str, width: int) -> None:
    same = {"state": "reconnecting", "num_frames": number, "num_faces": number + 1, "latency_ms": None}
    records = [{"id": name, "detail": detail, **same} for name in ids]
    with pytest.MonkeyPatch.context() as patch, screen.capture() as captured:
        patch.setattr(screen, "width", width)
        print_records(records, columns=COLUMNS, json=False, empty="none")
    lines = captured.get().splitlines()
    words = [word for line in lines for word in line.split()]
    assert set(ids) | {"reconnecting", str(number), str(number + 1)} <= set(words) | {word[:-1] for word in words}
    assert max(map(len, lines)) <= width
    assert detail.replace(" ", "") in "".join(words)


def test_an_empty_list_prints_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_records([], columns=COLUMNS, json=False, empty="no streams")
    assert capsys.readouterr() == ("", "no streams\n")
    print_records([], columns=COLUMNS, json=True, empty="no streams")
    assert capsys.readouterr() == ("[]\n", "")


@pytest.mark.parametrize("num_people", [1, MAX_PEOPLE, MAX_PEOPLE + 7])
def test_a_crowd_is_counted_and_those_seen_longest_are_shown(num_people: int) -> None:
    summary = StreamSummary()
    (face, *_) = EVENT.faces
    for index in range(num_people + 1):  # person N is in N + 1 frames, from the last backward
        present = range(num_people - index, num_people) if index else ()
        faces = tuple(replace(face, face=replace(face.face, track_id=number)) for number in present)
        summary.add(replace(EVENT, frame_index=EVENT.frame_index + index, faces=faces))
    table = summary_table(summary, title="People")
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    shown = {number for number in range(num_people) if f"#{number} " in said}
    assert shown == set(range(num_people)[-MAX_PEOPLE:])
    assert ("and 7 more" in said) is (num_people > MAX_PEOPLE)


def test_appearances_are_listed_with_their_person_where_it_is_known() -> None:
    (face, *_) = EVENT.faces
    for persons in ((None, None), (1, None)):
        summary = StreamSummary()
        faces = [replace(face, face=replace(face.face, track_id=i, person_id=who)) for i, who in enumerate(persons)]
        summary.add(replace(EVENT, faces=tuple(faces)))
        table = summary_table(summary, title=summary.head_count)
        assert ("person" in [column.header for column in table.columns]) is (persons != (None, None))
        assert table.row_count == 2
