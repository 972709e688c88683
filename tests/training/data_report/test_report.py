"""The data report: its numbers are right, its page holds all it shows, and mistakes give one clear message."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from markupsafe import escape

from emostream.domain.emotion import EMOTIONS
from tests.browser import assert_readable
from tests.training.data.test_load import save_contact_sheet
from tests.training.made import VOTE_COLUMN, made_faces, save_npz
from training.config import AugmentConfig
from training.data_report.__main__ import main
from training.data_report.report import report_page
from training.data_report.sheets import augmentation_sheet, augmentation_steps, contact_sheet
from training.data_report.statistics import (
    data_statistics,
    find_duplicates,
    label_agreement,
    measures,
    vote_entropy_bits,
)

pytestmark = pytest.mark.heavy


def test_numbers_of_splits() -> None:
    training, public = made_faces(15), made_faces(7, seed=1)
    training.pictures[3], public.pictures[0] = 9, 9
    training = dataclasses.replace(training, blank=training.pictures.reshape(15, -1).std(axis=1) == 0)
    splits = {"training": training, "publictest": public}
    found = data_statistics(splits, find_duplicates(splits)).splits
    assert found["training"].num_pictures == 15
    assert found["training"].class_counts == {name: 3 if name == "angry" else 2 for name in EMOTIONS}
    assert found["training"].num_blank == 1
    assert found["training"].num_subjects is None
    assert list(found["training"].quantiles) == ["brightness", "contrast", "sharpness"]


def test_duplicates_within_and_across_splits() -> None:
    training, public = made_faces(21), made_faces(14, seed=1)
    training.pictures[7] = training.pictures[0]  # the same class
    training.pictures[8] = training.pictures[2]  # another class
    public.pictures[5] = training.pictures[0]
    public.pictures[6] = np.clip(training.pictures[4].astype(int) + 25, 0, 255)
    splits = {"training": training, "publictest": public}
    found = data_statistics(splits, find_duplicates(splits)).duplicates
    assert found.num_exact_copies == 3
    assert found.num_near_pairs == 1
    assert found.num_mirrored_pairs == 0
    assert (found.num_groups, found.num_grouped_pictures, found.largest_group) == (3, 7, 3)
    # Three groups, all with a second label: copies were made across classes, or the brighter one has another.
    assert found.num_mixed_groups == 3
    shared = {(pair.of_split, pair.in_split): (pair.exact, pair.same) for pair in found.shared}
    assert shared == {("training", "publictest"): (2, 3), ("publictest", "training"): (1, 2)}
    assert found.num_shared_subjects is None


def test_people_in_more_than_one_split() -> None:
    training = dataclasses.replace(made_faces(4), subjects=np.array(["a", "b", "", "c"]))
    public = dataclasses.replace(made_faces(3, seed=1), subjects=np.array(["b", "", "d"]))
    splits = {"training": training, "publictest": public}
    found = data_statistics(splits, find_duplicates(splits))
    assert found.duplicates.num_shared_subjects == 1
    assert found.splits["training"].num_subjects == 3


def test_agreement_counts_labels_against_votes() -> None:
    faces = made_faces(14)
    assert faces.votes is not None
    faces.votes[0] = 0
    faces.votes[0, VOTE_COLUMN[3]] = 10  # angry seen as happy
    faces.votes[1] = 0
    faces.votes[1, 9] = 10  # not a face
    found = label_agreement(faces)
    assert found is not None
    assert found.matrix[0] == (1, 0, 0, 1, 0, 0, 0, 0)
    assert found.matrix[1] == (0, 1, 0, 0, 0, 0, 0, 1)
    assert found.share == pytest.approx(12 / 13)
    assert label_agreement(dataclasses.replace(faces, votes=None)) is None


def test_entropy_of_votes() -> None:
    faces = made_faces(4)
    assert faces.votes is not None
    faces.votes[:] = 0
    faces.votes[0, 0] = 10
    faces.votes[1, :2] = 5
    faces.votes[2, :4] = 2
    faces.votes[3, 9] = 10  # nobody sees one of the classes: not counted
    np.testing.assert_allclose(vote_entropy_bits(faces), [0, 1, 2], atol=1e-6)


def test_measures() -> None:
    faces = made_faces(3)
    faces.pictures[0] = 77
    faces.pictures[1] = np.where(np.indices((48, 48)).sum(axis=0) % 2, 255, 0)
    found = measures(faces)
    assert found["brightness"][0] == 77
    assert found["contrast"][0] == found["sharpness"][0] == 0
    assert found["contrast"][1] == pytest.approx(127.5)
    assert found["sharpness"][1] > found["sharpness"][2]


def test_a_contact_sheet_shows_each_picture() -> None:
    sheet = contact_sheet([np.full((48, 48), level, dtype=np.uint8) for level in (10, 20, 30)], columns=2)
    assert sheet[5, 5] == 10
    assert sheet[5, 70] == 20
    assert sheet[70, 5] == 30
    assert sheet[70, 70] == 255


def test_augmentation_is_shown_the_same_each_time() -> None:
    pictures = made_faces(2).pictures
    sheet = augmentation_sheet(pictures, AugmentConfig(), columns=4, seed=1)
    np.testing.assert_array_equal(sheet, augmentation_sheet(pictures, AugmentConfig(), columns=4, seed=1))
    assert not np.array_equal(sheet, augmentation_sheet(pictures, AugmentConfig(), columns=4, seed=2))
    # Each kind is applied even where a run draws it rarely.
    for name, row in augmentation_steps(pictures[0], AugmentConfig(), columns=3, seed=0).items():
        assert not np.array_equal(row, contact_sheet([pictures[0]] * 3, columns=3)), name


HOSTILE = "<img src=x onerror=y>'\"</td>{{ 1 }}&amp;"


def test_any_text_from_outside_is_text() -> None:
    """Names of the set, its splits and its classes."""
    faces = dataclasses.replace(made_faces(14), votes=None, class_names=(HOSTILE, *EMOTIONS[1:]))
    splits = {HOSTILE: faces, "b": faces}
    duplicates = find_duplicates(splits)
    statistics = data_statistics(splits, duplicates)
    written = report_page(HOSTILE, splits, statistics, duplicates, augment=AugmentConfig())
    assert "<img src=x" not in written
    shown = str(escape(HOSTILE))
    assert f"<title>Data report: {shown}</title>" in written
    assert f"<h1>Data report: {shown}</h1>" in written
    assert f'<th scope="col">{shown}</th>' in written, "a class"
    assert f'<th scope="row">{shown}</th>' in written, "a split"


@pytest.mark.integration
def test_a_browser_shows_it_accessibly(tmp_path: Path) -> None:
    path = save_npz(made_faces(28), tmp_path / "set.npz")
    assert main(["--data", str(path), "--out", str(tmp_path / "report")]) == 0
    assert_readable(tmp_path / "report" / "index.html", scheme="light", width=390)


@pytest.mark.parametrize("has_votes", [True, False], ids=["votes", "no votes"])
def test_the_page_holds_its_pictures(tmp_path: Path, has_votes: bool, capsys: pytest.CaptureFixture[str]) -> None:
    faces = made_faces(28)
    faces.pictures[7] = np.clip(faces.pictures[0].astype(int) + 20, 0, 255)
    path = save_npz(faces if has_votes else dataclasses.replace(faces, votes=None), tmp_path / "set.npz")
    assert main(["--data", str(path), "--out", str(tmp_path / "report")]) == 0
    assert capsys.readouterr().out.strip().endswith("index.html")
    written = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', written)
    assert len(pictures) == len(re.findall("<img", written)) >= 20
    for content in pictures:
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(content), dtype=np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
    assert "http:" not in written and "https:" not in written
    assert ('<section id="agreement">' in written) == has_votes
    numbers = json.loads((tmp_path / "report" / "statistics.json").read_text(encoding="utf-8"))
    assert numbers["splits"]["all"]["num_pictures"] == 28
    assert numbers["duplicates"]["num_near_pairs"] == 1


def test_numbers_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, num in (("training", 14), ("publictest", 7)):
        save_contact_sheet(made_faces(num, seed=num), tmp_path, split=split)
    assert main(["--data", str(tmp_path), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert list(numbers["splits"]) == ["training", "publictest"]
    assert sum(map(sum, numbers["agreement"]["matrix"])) == 21


def test_mistakes_give_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path / "missing"), "--json"]) == 3
    assert main(["--data", str(tmp_path)]) == 2
    (tmp_path / "file").write_text("", encoding="utf-8")
    path = save_npz(made_faces(7), tmp_path / "set.npz")
    assert main(["--data", str(path), "--out", str(tmp_path / "file")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "does not exist" in lines[0]
    assert "--out FOLDER for a page" in lines[1]
    assert "for the report cannot be made: File exists" in lines[2]
