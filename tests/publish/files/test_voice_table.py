"""Voice events as a table beside that of the faces."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from emostream.errors import ConfigError
from emostream.publish.files.table_sink import TableSink
from emostream.publish.files.voice_table import VoiceTable
from emostream.wire.events import voice_from_json
from tests.publish.samples import EVENT, VOICE


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


async def test_a_table_of_faces_has_one_of_the_voice_beside_it(tmp_path: Path) -> None:
    sink = TableSink(tmp_path / "a.csv")
    silent = replace(VOICE.window, window_index=1, quality=("silent",), loudness_lufs=None, arousal=None)
    await sink.publish([EVENT])
    await sink.publish_voice(VOICE)
    await sink.publish_voice(replace(VOICE, window=silent))
    await sink.close()
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a-voice.csv"}
    heard, unheard = rows_of(tmp_path / "a-voice.csv")
    assert (heard["stream_id"], heard["window_index"], heard["quality"]) == (VOICE.stream_id, "0", "")
    assert (float(heard["loudness_lufs"]), float(heard["arousal"])) == (-23.5, 0.25)
    assert (unheard["quality"], unheard["loudness_lufs"], unheard["arousal"]) == ("silent", "", "")


async def test_without_voice_there_is_no_such_file(tmp_path: Path) -> None:
    sink = TableSink(tmp_path / "a.csv")
    await sink.publish([EVENT])
    await sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_beside_json_lines_are_json_lines(tmp_path: Path) -> None:
    table = VoiceTable(tmp_path / "a.jsonl")
    table.add(VOICE)
    assert table.close() == [tmp_path / "a-voice.jsonl"]
    assert voice_from_json((tmp_path / "a-voice.jsonl").read_text(encoding="utf-8")) == VOICE


def test_what_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    table = VoiceTable(tmp_path / "a.csv")
    table.add(VOICE)
    assert table.close(is_kept=False) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a-voice\.csv"):
        VoiceTable(tmp_path / "none" / "a.csv").add(VOICE)
