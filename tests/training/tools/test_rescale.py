"""Finished files get a scaling that the measured split has no part in, and say so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from emostream.domain.emotion import EMOTIONS
from emostream.domain.model_manifest import load_manifest
from emostream.vision.classify.preprocess import batch_from_pictures
from tests.training.data.test_load import save_contact_sheet
from tests.training.made import VOTE_COLUMN, made_faces, save_npz
from tests.training.tiny_nets import outputs_of
from tests.training.trained_nets import save_tiny_run
from training.convert.scaled_graph import with_scalings
from training.convert.variants import VARIANTS
from training.data.face_set import FaceSet
from training.export import export
from training.measure.scalings import HeadScalings
from training.tools.rescale import main

pytestmark = pytest.mark.heavy

FILES = {"emotions": "int8", "emotions-fp32": "fp32", "emotions-fp16": "fp16"}
NAMES = [f"{name}.onnx" for name in FILES]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The variants of a run whose scaling was fitted to what is measured: all people say disgust there."""
    folder = tmp_path_factory.mktemp("exported")
    faces = made_faces(70, seed=4)
    assert faces.votes is not None
    faces.votes[:, VOTE_COLUMN[EMOTIONS.index("disgust")]] += 8
    run = save_tiny_run(folder / "run", validation=save_npz(faces, folder / "set.npz"))
    export(run, folder / "models", variants=[VARIANTS[name] for name in ("int8", "fp32", "fp16")])
    return folder / "models"


@pytest.fixture
def models(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "models")


def save_data(folder: Path, public: FaceSet | None = None) -> Path:
    save_contact_sheet(made_faces(210, seed=7), folder, split="training")
    save_contact_sheet(public or made_faces(70, seed=8), folder, split="publictest")
    return folder


def scaling_in(path: Path) -> dict[str, float]:
    metrics = load_manifest(path).metrics
    return {name: value for name, value in metrics.items() if name.startswith(("temperature", "shift"))}


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_variant_gets_the_scaling_of_a_tenth_of_training(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_data(tmp_path / "data")
    before = {name: load_manifest(models / name) for name in NAMES}
    assert before[NAMES[0]].metrics["shift_ferplus_disgust"] > 0.5
    assert main(["--models", str(models), "--data", str(data), "--note", "a note"]) == 0
    assert "publictest_vote_cross_entropy" in capsys.readouterr().out
    scalings = [scaling_in(models / name) for name in NAMES]
    assert scalings[0] == scalings[1] == scalings[2]
    assert scalings[0]["shift_ferplus_disgust"] < 0
    for name in NAMES:
        manifest = load_manifest(models / name)  # its hash is that of the file
        assert manifest.version != before[name].version
        properties = {entry.key: entry.value for entry in onnx.load(models / name).metadata_props}
        assert properties["version"] == manifest.version
        metrics = manifest.metrics
        assert metrics["temperature_fer2013"] == before[name].metrics["temperature_fer2013"]
        assert not [figure for figure in metrics if figure.startswith("validation_")], "measured with the old scaling"
        assert metrics["publictest_n"] == 70
        assert "publictest_vote_cross_entropy" in metrics
        assert ("parity_argmax_agreement" in metrics) == (manifest.precision != "fp32")
        begun, _, told = manifest.training_data.partition("; ")
        assert begun == before[name].training_data.partition("; ")[0]
        assert told.startswith("logits of the FER+ head scaled to the votes of a tenth of training")
        assert told.endswith("; a note")


def test_what_is_measured_has_no_part_in_the_scaling(tmp_path: Path, models: Path) -> None:
    other = made_faces(70, seed=9)
    assert other.votes is not None
    other.votes[:, VOTE_COLUMN[EMOTIONS.index("fear")]] += 9
    results = []
    for name, public in (("one", None), ("other", other)):
        out = tmp_path / f"out-{name}"
        data = save_data(tmp_path / name, public)
        assert main(["--models", str(models), "--out", str(out), "--data", str(data)]) == 0
        results.append([(out / model).read_bytes() for model in NAMES])
    assert results[0] == results[1]


def test_once_more_changes_nothing(tmp_path: Path, models: Path) -> None:
    arguments = ["--models", str(models), "--data", str(save_data(tmp_path / "data")), "--note", "a note"]
    assert main(arguments) == 0
    before = {name: load_manifest(models / name) for name in NAMES}
    assert main(arguments) == 0
    for name in NAMES:
        manifest = load_manifest(models / name)
        assert manifest.version == before[name].version
        assert manifest.training_data == before[name].training_data
        assert scaling_in(models / name) == pytest.approx(scaling_in_metrics(before[name].metrics), abs=1e-3)


def scaling_in_metrics(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith(("temperature", "shift"))}


def test_a_temperature_alone_changes_no_answer_of_the_net(tmp_path: Path, models: Path) -> None:
    data = save_data(tmp_path / "data")
    assert main(["--models", str(models), "--data", str(data), "--no-shifts"]) == 0
    assert set(scaling_in(models / "emotions-fp32.onnx")) == {"temperature_ferplus", "temperature_fer2013"}
    graph = onnx.load(models / "emotions-fp32.onnx")
    crops = batch_from_pictures(made_faces(70, seed=8).pictures)
    scaled, plain = (
        outputs_of(graph, tmp_path, crops),
        outputs_of(with_scalings(graph, HeadScalings()), tmp_path, crops),
    )
    assert not np.allclose(scaled.ferplus, plain.ferplus, atol=0.01)
    np.testing.assert_array_equal(scaled.ferplus.argmax(axis=1), plain.ferplus.argmax(axis=1))


def without_votes(models: Path, data: Path) -> list[str]:
    faces = made_faces(70)
    assert faces.votes is not None
    faces.votes[:] = 0
    save_contact_sheet(faces, data, split="training")
    return []


def without_reference(models: Path, data: Path) -> list[str]:
    for path in models.glob("emotions-fp32.*"):
        path.unlink()
    return []


def without_temperature(models: Path, data: Path) -> list[str]:
    path = models / "emotions-fp32.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["metrics"]["temperature_fer2013"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return []


def one_head(models: Path, data: Path) -> list[str]:
    path = models / "emotions-fp32.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"outputs": ["probabilities"]}), encoding="utf-8")
    return []


def damaged(models: Path, data: Path) -> list[str]:
    path = models / "emotions.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    return []


@pytest.mark.parametrize(
    ("change", "exit_code", "message"),
    [
        (without_votes, 2, "no FER+ votes"),
        (without_reference, 2, "has no emotions-fp32.onnx"),
        (without_temperature, 5, "does not tell the temperature"),
        (one_head, 5, "has no FER+ head to scale"),
        (damaged, 5, "does not match its manifest"),
        (lambda models, data: ["--split", "training"], 2, "holds the pictures that are fitted to"),
        (lambda models, data: ["--split", "privatetest"], 2, "has no split 'privatetest'"),
        (lambda models, data: ["--data", str(data / "gone")], 3, "does not exist"),
    ],
    ids=["no votes", "no FP32", "no temperature", "one head", "damaged", "fitted split", "no such split", "no data"],
)
def test_mistakes_give_one_line_and_leave_all_files(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str], change: object, exit_code: int, message: str
) -> None:
    data = save_data(tmp_path / "data")
    more = change(models, data)  # type: ignore[operator]
    before = bytes_in(models)
    assert main(["--models", str(models), "--data", str(data), *more]) == exit_code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert bytes_in(models) == before
