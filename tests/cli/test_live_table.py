"""The table of sources that are being read: what it counts, and that nothing of it is cut at 80 columns."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from emostream.cli.live_table import Reading, expected_frames, readings_table
from emostream.decode.source import SourceInfo
from emostream.domain.event import EmotionEvent
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.testing.fakes import ScriptedSource
from tests.publish.samples import EVENT as SAMPLE

EVENT = replace(SAMPLE, latency_ms={"detect": 12.0, "total": 38.0})


def _shown(readings: dict[str, Reading], *, now: float, num_over: int = 0, num_sources: int = 1) -> str:
    file = io.StringIO()
    table = readings_table(readings, now=now, num_over=num_over, num_sources=num_sources, width=80)
    Console(file=file, width=80).print(table)
    return file.getvalue()


def _read(num_frames: int, *, seconds: float, total: float | None = None, event: EmotionEvent = EVENT) -> Reading:
    reading = Reading(100.0, total)
    for index in range(num_frames):
        reading.add(replace(event, num_dropped=index % 2), now=100.0 + seconds * (index + 1) / num_frames)
    return reading


def test_speed_and_time_left() -> None:
    reading = _read(100, seconds=2.0, total=250)
    assert reading.fps(now=102.0) == pytest.approx(50)
    assert reading.left_seconds(now=102.0) == pytest.approx(3.0)
    assert reading.num_dropped == 50
    assert reading.latency_ms() == pytest.approx(38)
    assert reading.fps(now=110.0) is None, "nothing came for a while"


def test_the_speed_is_that_of_late() -> None:
    reading = _read(100, seconds=1.0)
    for index in range(100):
        reading.add(EVENT, now=101.0 + (index + 1) / 10)
    assert reading.fps(now=111.0) == pytest.approx(10, abs=0.5)


def test_before_the_first_frame() -> None:
    reading = Reading(100.0)
    assert (reading.fps(now=100.0), reading.latency_ms(), reading.left_seconds(now=101.0)) == (None, None, None)
    assert "door" in _shown({"door": reading}, now=101.0)


def test_80_columns_hold_all_of_it() -> None:
    (face, *_) = EVENT.faces
    crowd = tuple(replace(face, face=replace(face.face, track_id=number)) for number in range(7))
    long_id = "".join(itertools.islice(itertools.cycle("abcdefghij"), 64))
    readings = {
        "door": _read(1234, seconds=60.0, total=98765),
        long_id: _read(20, seconds=2.0, event=replace(EVENT, faces=crowd)),
        "entrance-of-the-museum-1": _read(3, seconds=1.0, event=replace(EVENT, faces=())),
    }
    said = _shown(readings, now=160.0, num_over=2, num_sources=12)
    assert max(map(len, said.splitlines())) <= 80
    for text in ("1234/98765", "1:19:02", "0:01:00", "617", "#0 ", "+3", "2 of 12", "no face"):
        assert text in said, said
    first_column = "".join(line.split(" ")[0] for line in said.splitlines())
    assert long_id in first_column


def test_an_id_of_usual_length_is_not_folded_and_nothing_of_faces_is_lost() -> None:
    (face, *_) = EVENT.faces
    two = tuple(replace(face, face=replace(face.face, track_id=number)) for number in range(2))
    event = replace(EVENT, faces=two)
    readings = {"entrance-of-the-museum": _read(300, seconds=12.0, total=300, event=event)}
    words = _shown(readings, now=112.0).split()
    assert "entrance-of-the-museum" in words
    assert (words.count("happy"), words.count("90%")) == (2, 2)
    assert {"#0", "#1"} <= set(words)


def test_very_many_sources_are_counted() -> None:
    said = _shown({f"camera-{number}": _read(2, seconds=1.0) for number in range(33)}, now=101.0, num_sources=33)
    assert "and 13 more" in said


class _Counted(ScriptedSource):
    """A source whose container says how many frames it has."""

    @property
    def info(self) -> SourceInfo:
        return replace(super().info, num_frames=100)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        (StreamKind.FILE, {}, 100),
        (StreamKind.FILE, {"every": 3}, 34),
        (StreamKind.FILE, {"max_frames": 7}, 7),
        (StreamKind.LIVE, {}, None),
        (StreamKind.LIVE, {"max_frames": 7}, 7),
    ],
)
def test_how_many_frames_there_will_be(kind: StreamKind, options: dict[str, Any], expected: float | None) -> None:
    source = _Counted([])
    assert expected_frames(StreamSpec("door", "x", kind, **options), source) == expected
