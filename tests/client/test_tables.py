"""Events as rows and files: nothing lost, types kept."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.client import EmotionEvent, frame_from_events, open_table_writer
from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import FaceEmotion
from emostream.errors import ConfigError
from emostream.publish.files.table import columns_of, rounded_row, rows_from_events
from emostream.wire.events import event_from_json
from tests.publish.samples import EVENT, events_of
from tests.strategies import distributions, emotion_events, faces

EVENTS = [replace(event, faces=EVENT.faces * (event.frame_index % 3)) for event in events_of("door", range(30))]
NUM_ROWS = sum(max(1, len(event.faces)) for event in EVENTS)

known = distributions().map(lambda values: EmotionScores(EMOTIONS, values))
faces_of_seven = st.builds(FaceEmotion, face=faces(), scores=known, smoothed=known)


@given(emotion_events, st.lists(faces_of_seven, max_size=4))
def test_a_row_per_face_or_per_empty_frame(event: EmotionEvent, some: list[FaceEmotion]) -> None:
    rows = list(rows_from_events([replace(event, faces=tuple(some))]))
    assert len(rows) == max(1, len(some))
    assert all(tuple(row) == columns_of() for row in rows)
    assert [row["dominant"] for row in rows if row["dominant"]] == [face.dominant for face in some]


def test_other_emotions_are_refused() -> None:
    odd = EmotionScores(("calm", "cross"), (0.5, 0.5))
    face = FaceEmotion(EVENT.faces[0].face, odd, odd)
    with pytest.raises(ConfigError, match="calm"):
        list(rows_from_events([EVENT, replace(EVENT, faces=(face,))]))


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.jsonl"])
def test_a_file_holds_everything_written_in_parts(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    writer = open_table_writer(path)
    writer.write(EVENTS[:7])
    writer.write(EVENTS[7:])
    writer.close()
    if path.suffix == ".jsonl":
        assert [event_from_json(line) for line in path.read_text(encoding="utf-8").splitlines()] == EVENTS
        return
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    assert len(table) == NUM_ROWS
    assert tuple(table.columns) == columns_of()
    assert sorted(set(table["frame_index"])) == list(range(30))
    happy = table["probability_happy"].dropna()
    assert all(math.isclose(value, 0.9, abs_tol=1e-6) for value in happy)
    assert pd.to_datetime(table["captured_at"])[0] == EVENTS[0].captured_at


@given(emotion_events, st.lists(faces_of_seven, max_size=4))
def test_csv_has_the_digits_of_json(event: EmotionEvent, some: list[FaceEmotion]) -> None:
    event = replace(event, faces=tuple(some))
    expected = json.loads(event.to_json())
    for row, face in zip(rows_from_events([event]), expected["faces"], strict=False):
        rounded = rounded_row(row)
        assert rounded["pts_seconds"] == expected["pts_seconds"]
        assert [rounded[name] for name in ("x0", "y0", "x1", "y1")] == face["box_xyxy"]
        assert (rounded["score"], rounded["confidence"]) == (face["score"], face["confidence"])
        for name in ("yaw_degrees", "derived_valence"):
            assert rounded[name] == face.get(name)
        for kind, name in (("probability", "probabilities"), ("smoothed", "smoothed_probabilities")):
            assert {label: rounded[f"{kind}_{label}"] for label in EMOTIONS} == face[name]


def test_csv_is_short_and_says_what_json_says(tmp_path: Path) -> None:
    thirds = EmotionScores(EMOTIONS, tuple(1 / len(EMOTIONS) for _ in EMOTIONS))
    face = replace(EVENT.faces[0].face, box_xyxy=(1 / 3, 1 / 7, 100 / 3, 100 / 7))
    writer = open_table_writer(tmp_path / "out.csv")
    writer.write([replace(EVENT, pts_seconds=1 / 3, faces=(FaceEmotion(face, thirds, thirds),))])
    writer.close()
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["pts_seconds"] == "0.333333"
    assert [row[name] for name in ("x0", "y0", "x1", "y1")] == ["0.3", "0.1", "33.3", "14.3"]
    assert {row[f"probability_{label}"] for label in EMOTIONS} <= {"0.1428", "0.1429"}


def test_parquet_keeps_types(tmp_path: Path) -> None:
    writer = open_table_writer(tmp_path / "out.parquet")
    writer.write(EVENTS)
    writer.close()
    row = pq.read_table(tmp_path / "out.parquet").to_pylist()[1]
    assert (row["epoch"], row["track_id"], row["zones"]) == (EVENT.epoch, 3, "")
    assert row["captured_at"] == EVENTS[1].captured_at
    assert row["captured_at"].tzinfo is not None and row["captured_at"].astimezone(UTC) == EVENTS[1].captured_at


@pytest.mark.parametrize("name", ["own.csv", "own.parquet"])
@pytest.mark.parametrize("labels", [None, ("calm", "cross")], ids=["from the first face", "told"])
def test_the_first_face_may_come_late_and_know_other_emotions(
    tmp_path: Path, name: str, labels: tuple[str, ...] | None
) -> None:
    odd = EmotionScores(("calm", "cross"), (0.25, 0.75))
    event = replace(EVENT, faces=(FaceEmotion(EVENT.faces[0].face, odd, odd),))
    empty = [replace(each, faces=()) for each in EVENTS[:20]]
    writer = open_table_writer(tmp_path / name, labels=labels)
    for part in (empty[:9], empty[9:], [event], [event, empty[0]]):
        writer.write(part)
    writer.close()
    table = pd.read_csv(tmp_path / name) if name.endswith(".csv") else pd.read_parquet(tmp_path / name)
    assert tuple(table.columns) == columns_of(("calm", "cross"))
    assert table["frame_index"].tolist() == [*range(20), EVENT.frame_index, EVENT.frame_index, 0]
    assert table["probability_cross"].dropna().tolist() == [0.75, 0.75]


@pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
def test_a_file_without_events_has_its_columns(tmp_path: Path, name: str) -> None:
    open_table_writer(tmp_path / name).close()
    if name.endswith(".csv"):
        with (tmp_path / name).open(encoding="utf-8") as file:
            assert tuple(next(csv.reader(file))) == columns_of()
    else:
        assert tuple(pq.read_schema(tmp_path / name).names) == columns_of()


def test_a_pandas_table() -> None:
    table = frame_from_events(EVENTS)
    assert len(table) == NUM_ROWS
    assert table.equals(frame_from_events(event for event in EVENTS))
    assert table["track_id"].isna().sum() == 10
    assert table.groupby("track_id")["smoothed_happy"].mean()[3] == pytest.approx(0.9)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["events.csv", "events.jsonl", "events.parquet"])
def test_a_full_disk_is_a_clear_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.symlink_to("/dev/full")
    writer = open_table_writer(path)

    def write_all() -> None:
        try:
            for _ in range(50):
                writer.write(EVENTS)
        finally:
            writer.close()

    with pytest.raises(ConfigError, match=name):
        write_all()


def test_an_unknown_format_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        open_table_writer(tmp_path / "events.xlsx")
    with pytest.raises(ConfigError):
        open_table_writer(tmp_path / "missing" / "events.csv")
