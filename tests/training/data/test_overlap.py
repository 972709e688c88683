"""Photographs that a measured split shares with what was learned from are found, whatever was done to them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emostream.errors import ConfigError
from tests.training.data.test_duplicates import scenes
from tests.training.data.test_load import save_contact_sheet
from tests.training.made import made_faces, save_npz
from tests.training.test_evaluate import save_brightness_model
from training.data import overlap
from training.data.face_set import FaceSet, build_face_set
from training.data.overlap import load_with_overlap, overlap_with
from training.evaluate import main
from training.tools.model_card import main as write_card

NUM_COPIES, NUM_NEAR = 4, 6


def photographs(num: int, *, seed: int = 0) -> FaceSet:
    """Scenes, each of its own, with the labels and votes of made faces."""
    like = made_faces(num)
    return build_face_set(scenes(num, side=48, seed=seed), like.labels, source=Path("made"), votes=like.votes)


def splits() -> tuple[FaceSet, FaceSet]:
    """Training, and a split of which the first four are copies, the next six near copies, and the last is blank."""
    training, public = photographs(40), photographs(30, seed=1)
    near = training.pictures[10 : 10 + NUM_NEAR].astype(np.int64)
    near[::2] = near[::2, :, ::-1]
    near = np.roll(near, 1, axis=1) * 4 // 5 + 20
    public.pictures[:NUM_COPIES] = training.pictures[:NUM_COPIES]
    public.pictures[NUM_COPIES : NUM_COPIES + NUM_NEAR] = near
    training.pictures[-1] = public.pictures[-1] = 7
    return _again(training), _again(public)


def _again(faces: FaceSet) -> FaceSet:
    return build_face_set(faces.pictures, faces.labels, source=Path("made"), votes=faces.votes)


def test_copies_and_near_copies_are_known_and_blank_pictures_are_no_photograph() -> None:
    training, public = splits()
    found = overlap_with(training, public)
    expected = np.zeros(30, dtype=np.bool_)
    expected[: NUM_COPIES + NUM_NEAR] = True
    np.testing.assert_array_equal(found.known, expected)
    assert found.training_votes is not None
    assert found.training_votes.winner_shares == {9: 1.0}


def save_data(folder: Path) -> Path:
    training, public = splits()
    save_contact_sheet(training, folder, split="training")
    save_contact_sheet(public, folder, split="publictest")
    return folder


def test_it_is_looked_for_where_the_data_has_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = save_data(tmp_path / "data")
    faces, found = load_with_overlap(data, split="publictest")
    assert len(faces) == 30
    assert found is not None
    assert found.known.sum() == NUM_COPIES + NUM_NEAR
    for split, look in (("publictest", False), ("training", None), ("all", None)):
        assert load_with_overlap(data, split=split, look=look)[1] is None
    with pytest.raises(ConfigError, match="'training'"):
        load_with_overlap(data, split="training", look=True)
    with pytest.raises(ConfigError, match="'training'"):
        load_with_overlap(save_npz(made_faces(7), tmp_path / "set.npz"), split=None, look=True)
    monkeypatch.setattr(overlap, "MAX_PICTURES", 50)
    assert load_with_overlap(data, split="publictest")[1] is None
    assert load_with_overlap(data, split="publictest", look=True)[1] is not None


def test_the_command_prints_every_figure_as_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, model = save_data(tmp_path / "data"), save_brightness_model(tmp_path / "model.onnx")
    arguments = ["--data", str(data), "--split", "publictest", "--model", str(model)]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    # The made model always answers happy (FER+) and neutral (challenge).
    _, public = splits()
    unknown = np.arange(30) >= NUM_COPIES + NUM_NEAR
    assert told["n_near_duplicates"] == NUM_COPIES + NUM_NEAR
    assert told["accuracy_without_near_duplicates"] == pytest.approx((public.labels[unknown] == 6).mean())
    assert told["ferplus_accuracy_without_near_duplicates"] == pytest.approx((public.labels[unknown] == 3).mean())
    happy = float((public.labels == 3).mean())
    assert told["ferplus_majority_mode_accuracy"] == pytest.approx(happy)
    assert (told["n_ferplus_majority_mode"], told["n_ferplus_majority_mode_8"]) == (30, 30)
    assert told["ferplus_accuracy_at_training_votes"] == pytest.approx(happy)
    assert [row["votes"] for row in told["ferplus_accuracy_by_winner_votes"]] == [9]
    assert told["vote_cross_entropy"] > told["votes"]["entropy"]
    assert (told["votes"]["n"], told["training_votes"]["n"]) == (30, 40)
    assert told["votes"]["all_agree"] == 0
    figures = told

    assert main([*arguments, "--no-near-duplicates", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for name in ("n_near_duplicates", "accuracy_without_near_duplicates", "training_votes"):
        assert told[name] is None
    assert told["vote_cross_entropy"] is not None

    report = tmp_path / "report.html"
    assert main([*arguments, "--report", str(report), "--no-robustness"]) == 0
    assert "without exact and near" in capsys.readouterr().out
    page = report.read_text(encoding="utf-8")
    assert "without 10 whose photograph is in training" in page
    assert "majority mode, 7 classes, 30 pictures" in page

    card = tmp_path / "card.md"
    card.write_text("<!-- facts begins -->\n<!-- facts ends -->\n<!-- figures begins -->\n<!-- figures ends -->\n")
    models = tmp_path / "models"
    models.mkdir()
    (models / "emotions.onnx").write_bytes(model.read_bytes())
    manifest = model.with_suffix(".json").read_text(encoding="utf-8").replace("model.onnx", "emotions.onnx")
    (models / "emotions.json").write_text(manifest, encoding="utf-8")
    assert write_card([*arguments[:4], "--models", str(models), "--card", str(card)]) == 0
    lines = [line for line in card.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    without = next(row for row in rows if "without 10 " in row[0])
    accuracies = [figures[f"{head}accuracy_without_near_duplicates"] for head in ("", "ferplus_")]
    assert [cell.partition(" (")[0] for cell in without[1:]] == [f"{100 * value:.1f} %" for value in accuracies]
    assert any(row[1:3] == ["40", "0.0 %"] for row in rows), "votes of training"
    assert any(row[1:] == ["9"] for row in rows), "votes for the most frequent class"


def test_without_votes_and_splits_all_of_it_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faces = made_faces(21)
    np.savez(tmp_path / "set.npz", images=faces.pictures, label=faces.labels)
    model = save_brightness_model(tmp_path / "model.onnx")
    assert main(["--data", str(tmp_path / "set.npz"), "--model", str(model), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for name in ("votes", "vote_cross_entropy", "ferplus_majority_mode_accuracy", "n_near_duplicates"):
        assert told[name] is None
    assert main(["--data", str(tmp_path / "set.npz"), "--model", str(model), "--near-duplicates"]) == 2
    assert "no split 'training'" in capsys.readouterr().err


@pytest.mark.slow
def test_public_test_of_fer2013_has_688_known_photographs_and_easier_pictures(shared_data: Path) -> None:
    faces, found = load_with_overlap(shared_data / "fer2013", split="publictest")
    assert found is not None
    assert faces.duplicate_of_training is not None
    assert int(found.known.sum()) == 688
    assert int((faces.duplicate_of_training & ~faces.blank & ~found.known).sum()) == 0
    assert found.training_votes is not None
    assert round(found.training_votes.all_agree, 3) == 0.219
