"""Two models side by side: known answers, paired intervals, limits and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from emostream.domain.model_manifest import sha256_of
from tests.training.made import made_faces, save_npz
from tests.training.test_evaluate import save_brightness_model
from training.measure.versus import main, varied


def save_other_model(path: Path, *, ferplus: int, fer2013: int) -> Path:
    """The brightness model with other answers of its heads."""
    save_brightness_model(path)
    graph = onnx.load(path)
    for tensor in graph.graph.initializer:
        if tensor.name in ("first", "second"):
            row = np.eye(7, dtype=np.float32)[[ferplus if tensor.name == "first" else fer2013]] / 50
            tensor.CopyFrom(numpy_helper.from_array(row, tensor.name))
    onnx.save(graph, path)
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    path.with_suffix(".json").write_text(json.dumps(content | {"sha256": sha256_of(path)}), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Fourteen pictures of each class, more of class 3 than of class 4."""
    faces = made_faces(98)
    return save_npz(faces.take(np.flatnonzero((faces.labels != 4) | (np.arange(98) < 49))), tmp_path / "set.npz")


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    code = main([*arguments, "--json"])
    content = json.loads(capsys.readouterr().out)
    return code, {f"{row['kind']}, {row['name']}": row for row in content["rows"]}


def test_figures_differences_and_limits(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = save_brightness_model(tmp_path / "one.onnx")  # happy for votes, neutral for labels
    new = save_other_model(tmp_path / "two.onnx", ferplus=4, fer2013=3)
    code, rows = told([str(new), "--reference", str(reference), "--data", str(data)], capsys)
    assert code == 1
    plurality = rows["accuracy, FER+ plurality"]
    assert (plurality["reference"], plurality["new"]) == pytest.approx((14 / 91, 7 / 91))
    # Of 91 differences 14 are −1 and 7 are +1.
    half = 1.96 * np.sqrt((21 / 91 - (7 / 91) ** 2) / 90)
    assert plurality["interval"] == pytest.approx((-7 / 91 - half, -7 / 91 + half), abs=1e-3)
    assert plurality["holds"] is False
    labels = rows["accuracy, labels"]
    assert labels["reference"] == labels["new"]
    assert labels["holds"] is True
    assert rows["recall, FER+ plurality: happy"]["holds"] is False
    assert rows["recall, FER+ plurality: sad"]["holds"] is True
    assert rows["steadiness, same answer, mirrored"]["new"] == 1.0
    assert rows["votes, FER+ plurality, 9 votes"]["holds"] is None


def test_a_model_keeps_every_limit_against_itself_but_time(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_brightness_model(tmp_path / "one.onnx")
    _, rows = told([str(model), "--reference", str(model), "--data", str(data)], capsys)
    assert {row["holds"] for name, row in rows.items() if not name.startswith("time")} <= {True, None}
    main([str(model), "--reference", str(model), "--data", str(data)])
    assert "× 1.00" in capsys.readouterr().out


def test_data_without_votes_and_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faces = made_faces(21)
    np.savez(tmp_path / "set.npz", images=faces.pictures, label=faces.labels)
    model = save_brightness_model(tmp_path / "one.onnx")
    _, rows = told([str(model), "--reference", str(model), "--data", str(tmp_path / "set.npz")], capsys)
    assert not any("FER+" in name for name in rows)
    assert main([str(tmp_path / "gone.onnx"), "--data", str(tmp_path / "set.npz")]) == 5
    assert "gone.onnx does not exist" in capsys.readouterr().err


def test_variants_are_mirrored_and_shifted_by_a_pixel() -> None:
    pictures = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    mirrored, up, down, left, right = varied(pictures)
    np.testing.assert_array_equal(mirrored, pictures[:, :, ::-1])
    np.testing.assert_array_equal(up[:, 1:], pictures[:, :-1])
    np.testing.assert_array_equal(down[:, :-1], pictures[:, 1:])
    np.testing.assert_array_equal(left[:, :, 1:], pictures[:, :, :-1])
    np.testing.assert_array_equal(right[:, :, -1], pictures[:, :, -1])
