"""`python -m training.explain`: a folder that reads back, tables, JSON, and mistakes in words."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from emostream.errors import ManifestError, ModelUnavailableError
from tests.training.made import made_faces, save_npz
from tests.training.trained_nets import TINY, save_tiny_run
from training.explain.folder import FIGURES_FILE, PICTURES_FILE, load_explanation
from training.explain.run import main
from training.loop.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return save_tiny_run(folder / "run", validation=save_npz(made_faces(70, seed=5), folder / "set.npz"))


@pytest.fixture(scope="module")
def explained(run: Path) -> Path:
    assert main(["--run", str(run), "--data", str(run.parent / "set.npz"), "--pictures", "35"]) == 0
    return run / "explanation"


def test_by_default_it_is_what_the_run_was_validated_on(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "explanation"
    assert main(["--run", str(run), "--out", str(out), "--pictures", "35"]) == 0
    assert load_explanation(out).num_pictures == 7  # a tenth of 70


def test_the_folder_reads_back(explained: Path) -> None:
    explanation = load_explanation(explained)
    assert explanation.source == "tiny, epoch 3"
    assert (explanation.head, explanation.num_pictures) == ("ferplus", 35)
    assert [entry.method for entry in explanation.quality] == ["Grad-CAM", "LayerCAM", "centre", "chance"]
    assert list(explanation.randomisation) == ["Grad-CAM", "LayerCAM"]
    assert [part.part for part in explanation.randomisation["Grad-CAM"]] == ["heads", "stage 2", "stage 1", "stage 0"]
    assert explanation.classes
    for examples in explanation.classes:
        assert examples.crops.shape[1:] == (64, 64)
        assert 1 <= len(examples.crops) <= 6
        assert list(examples.probabilities) == sorted(examples.probabilities, reverse=True)
        assert examples.maps["LayerCAM"].shape == examples.crops.shape
        assert 0 < examples.mean_maps["Grad-CAM"].max() <= 1
    figures = json.loads((explained / FIGURES_FILE).read_text(encoding="utf-8"))
    assert figures == json.loads(json.dumps(explanation.as_dict()))


def test_overlays_have_a_row_for_each_class(explained: Path) -> None:
    num_classes = len(load_explanation(explained).classes)
    for name in ("grad-cam.png", "layercam.png"):
        sheet = np.asarray(cv2.imread(str(explained / name)))
        assert sheet.shape == (112 * num_classes, 112 * 7, 3)


@pytest.mark.slow
def test_json_with_rise_on_the_other_head(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--run",
        str(run),
        "--pictures",
        "4",
        "--head",
        "fer2013",
        "--rise",
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    assert main(arguments) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [entry["method"] for entry in figures["quality"]] == ["Grad-CAM", "LayerCAM", "RISE", "centre", "chance"]
    assert figures["head"] == "fer2013"
    assert (tmp_path / "out" / PICTURES_FILE).is_file()


def test_crops_have_the_size_the_net_was_trained_on(run: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(run / "last.pt")
    config = dataclasses.replace(checkpoint.config, data=dataclasses.replace(checkpoint.config.data, crop_pixels=48))
    save_checkpoint(dataclasses.replace(checkpoint, config=config), tmp_path / "last.pt")
    assert main(["--run", str(tmp_path), "--pictures", "14"]) == 0
    assert all(examples.crops.shape[1:] == (48, 48) for examples in load_explanation(tmp_path / "explanation").classes)


def test_tables(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(run), "--pictures", "7", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "better than chance" in text
    assert "stage 0" in text


def test_mistakes_give_one_line_and_an_exit_code(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = save_tiny_run(
        tmp_path / "other", validation=run.parent / "set.npz", model=dataclasses.replace(TINY, widths=(8, 24))
    )
    (tmp_path / "file").touch()
    for arguments, code, message in (
        (["--run", str(tmp_path)], 5, "does not exist"),
        (["--run", str(other)], 5, "another architecture"),
        (["--run", str(run), "--checkpoint", "best"], 5, "best.pt does not exist"),
        (["--run", str(run), "--data", str(tmp_path / "none.npz")], 3, "does not exist"),
        (["--run", str(run), "--pictures", "0"], 2, "at least 1"),
        (["--run", str(run), "--pictures", "2", "--out", str(tmp_path / "file" / "x")], 1, "cannot be written"),
    ):
        assert main(arguments) == code, arguments
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
        assert error.count("\n") == 1


def test_a_missing_or_damaged_folder_is_named(explained: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"python -m training\.explain"):
        load_explanation(tmp_path)
    for name in (FIGURES_FILE, PICTURES_FILE):
        (tmp_path / name).write_bytes((explained / name).read_bytes()[:300])
    with pytest.raises(ManifestError):
        load_explanation(tmp_path)
    (tmp_path / FIGURES_FILE).write_bytes((explained / FIGURES_FILE).read_bytes())
    with pytest.raises(ManifestError):
        load_explanation(tmp_path)
