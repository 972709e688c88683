"""A model of a user's own answers with a head that its data taught, from the folder to the command line."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emostream.domain.emotion import EMOTIONS
from emostream.domain.model_manifest import load_manifest
from emostream.errors import ConfigError, ManifestError, SourceRejectedError
from tests.training.made import made_faces, save_npz, tiny_config_in
from tests.training.own_data import (
    LAYOUTS,
    OWN_CLASSES,
    path_of,
    save_class_folders,
    save_cut_faces,
    save_people,
    striped,
    whole_pictures,
    write_settings,
)
from tests.vision.detect.real_model import real_detector
from training.compare import main as compare_main
from training.config import TrainConfig, load_config
from training.convert.onnx_graph import OUTPUT_NAMES
from training.convert.trained_model import ExportOptions
from training.convert.variants import VARIANTS
from training.data.face_set import join_face_sets
from training.data.labels import Task
from training.data.load import load_faces, load_splits
from training.data_report.__main__ import main as data_report_main
from training.evaluate import SHIPPED_MODEL, evaluate_model
from training.evaluate import main as evaluate_main
from training.export import export
from training.export import main as export_main
from training.loop.checkpoint import load_checkpoint, save_checkpoint
from training.loop.run import fit
from training.loop.train_set import load_sets, task_of
from training.measure.inference import OnnxModel
from training.nets.build import build_model

pytestmark = pytest.mark.heavy


def settings_for(layout: str, folder: Path, *, epochs: int) -> tuple[TrainConfig, Path]:
    """Settings that learn from a set in this layout and are measured on it, and the set."""
    make, _ = LAYOUTS[layout]
    (folder / "data").mkdir()
    make(folder / "data")
    data = path_of(folder / "data")
    overrides = (f"data.validation_path={data}", "data.train_split=training", "data.validation_split=training")
    settings = write_settings(folder / "my-model.yaml", data, epochs=epochs)
    return load_config(settings, overrides=overrides), data


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_votes_one_head_learns_from_every_picture(layout: str, tmp_path: Path) -> None:
    config, data = settings_for(layout, tmp_path, epochs=1)
    fit(config, tmp_path / "run", show_progress=False)
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    assert checkpoint.task == Task(LAYOUTS[layout][1], has_votes=False)
    assert checkpoint.num_targets == {"fer2013": len(load_faces(data, split="training"))}
    heads = {name for name in checkpoint.weights if "head" in name}
    assert heads == {"fer2013_head.weight", "fer2013_head.bias"}
    assert bool(checkpoint.weights["fer2013_head.bias"].abs().sum() > 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_events_carry_was_learned(layout: str, tmp_path: Path) -> None:
    config, data = settings_for(layout, tmp_path, epochs=60)
    fit(config, tmp_path / "run", show_progress=False)
    (report,) = export(tmp_path / "run", tmp_path / "model", variants=(VARIANTS["fp32"],))
    assert report.manifest.labels == LAYOUTS[layout][1]
    assert report.manifest.outputs == OUTPUT_NAMES[:1]
    faces = load_faces(data, split="training")
    answers = OnnxModel(report.path).classify(faces.pictures).ferplus.argmax(axis=1)
    right = float((answers == faces.labels).mean())
    assert right >= 0.9
    evaluation = evaluate_model(report.path, faces)
    assert (evaluation.fer2013.accuracy, evaluation.label_output) == (right, "probabilities")
    assert evaluation.ferplus is None


# --- the commands -----------------------------------------------------------------------------------------------------


def run_module(folder: Path, *arguments: object, **environment: str) -> str:
    """What `python -m …` prints on standard output, in a process of its own."""
    outcome = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"COLUMNS": "160", "PYTHONPATH": str(Path(__file__).parents[2])} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert outcome.returncode == 0, f"{arguments}\n{outcome.stdout}\n{outcome.stderr}"
    return outcome.stdout


@pytest.mark.timeout(600)
@pytest.mark.parametrize("class_names", [EMOTIONS, OWN_CLASSES], ids=["seven", "three of an own kind"])
def test_from_a_folder_to_the_command_line(tmp_path: Path, class_names: tuple[str, ...]) -> None:
    save_class_folders(tmp_path / "my-faces", class_names, num=20)
    save_class_folders(tmp_path / "fresh-faces", class_names, first=100, num=4)
    shown = whole_pictures(class_names, tmp_path / "pictures", first=200, num=5)
    settings = write_settings(tmp_path / "my-model.yaml", Path("my-faces"), epochs=24)
    run_module(tmp_path, "training.train", "--config", settings, "--run", "runs/mine", "--quiet")
    model = tmp_path / "my-model" / "emotions.onnx"
    run_module(tmp_path, "training.export", "--run", "runs/mine", "--out", model)

    manifest = load_manifest(model)
    assert (manifest.name, manifest.licence, manifest.labels) == ("my-model", None, class_names)
    assert manifest.outputs == ("probabilities",)
    assert manifest.training_data.startswith(f"my-faces labels of {len(class_names)} classes, 24 epochs")

    measured = ("--data", "fresh-faces", "--model", model)
    figures = json.loads(run_module(tmp_path, "training.evaluate", *measured, "--json", "--report", "report.html"))
    assert (figures["accuracy"], figures["label_output"], figures["ferplus_accuracy"]) == (1.0, "probabilities", None)
    assert set(figures["reliability"]) == {"fer2013"}
    assert list(figures["per_class"]) == list(class_names)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "challenge" not in page.partition('<section id="limitations"')[0]
    assert html.unescape(page).count("müde & 'tired'") > 0 or class_names == EMOTIONS
    assert "müde & 'tired'" not in page
    explained = json.loads(run_module(tmp_path, "training.explain", "--run", "runs/mine", "--pictures", "20", "--json"))
    assert explained["head"] == "probabilities"
    assert set(explained["classes"]) == set(class_names)
    bent = json.loads(run_module(tmp_path, "training.measure.robustness", *measured, "--pictures", "12", "--json"))
    assert (bent["clean"]["fer2013"], bent["clean"]["ferplus"]) == (1.0, None)

    told = run_module(
        tmp_path, "emostream", "classify", "--whole", "--json", "pictures", EMOSTREAM_CLASSIFY__MODEL=str(model)
    )
    answers = [json.loads(line) for line in told.splitlines()]
    expected = {path.name: name for path, name in shown.items()}
    assert {Path(answer["picture"]).name: _most_probable(answer["faces"][0]) for answer in answers} == expected
    for answer in answers:
        (face,) = answer["faces"]
        assert list(face["probabilities"]) == sorted(class_names, key=class_names.index)
        assert face["dominant"] in {_most_probable(face), "unknown"}  # patterns show no mouth that is not covered
        assert answer["model"] == f"my-model {manifest.version}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("class_names", [EMOTIONS, OWN_CLASSES], ids=["seven", "three of an own kind"])
def test_from_cut_faces_to_people_in_pictures(tmp_path: Path, class_names: tuple[str, ...]) -> None:
    detector = real_detector()
    save_cut_faces(tmp_path / "my-faces", class_names, detector, first=0, num=24)
    # Two portraits are two photographs, which a split by photograph would not take apart.
    save_cut_faces(tmp_path / "kept-apart", class_names, detector, first=500, num=6)
    shown = save_people(tmp_path / "pictures", class_names, detector, num=6)
    settings = write_settings(tmp_path / "s.yaml", Path("my-faces"), epochs=40, validation=Path("kept-apart"))
    run_module(tmp_path, "training.train", "--config", settings, "--run", "runs/mine", "--quiet")
    model = tmp_path / "my-model" / "emotions.onnx"
    run_module(tmp_path, "training.export", "--run", "runs/mine", "--out", model)
    told = run_module(tmp_path, "emostream", "classify", "--json", "pictures", EMOSTREAM_CLASSIFY__MODEL=str(model))
    answers = {}
    for answer in map(json.loads, told.splitlines()):
        # In some waves the detector sees further faces, less surely.
        person = max(answer["faces"], key=lambda face: face["score"])
        answers[Path(answer["picture"]).name] = _most_probable(person)
    assert answers.keys() == shown.keys()
    num_right = sum(answers[name] == drawn for name, drawn in shown.items())
    assert num_right >= 0.95 * len(shown)  # a head that was never trained has 1 in 7 right, or 1 in 3


def _most_probable(face: dict[str, Any]) -> str:
    probabilities: dict[str, float] = face["probabilities"]
    return max(probabilities, key=probabilities.__getitem__)


# --- names, licence, classes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on three own classes; its settings have no name of their own."""
    folder = tmp_path_factory.mktemp("own")
    data = save_class_folders(folder / "my-faces", OWN_CLASSES, num=8)
    settings = write_settings(folder / "settings.yaml", data, name="run", epochs=8)
    fit(load_config(settings), folder / "staff-room", show_progress=False)
    return folder / "staff-room"


def test_a_model_is_called_as_its_run_or_as_its_owner_says(own_run: Path, tmp_path: Path) -> None:
    (report,) = export(own_run, tmp_path, variants=(VARIANTS["fp32"],))
    assert (report.manifest.name, report.manifest.licence) == ("staff-room", None)
    out = tmp_path / "named.onnx"
    assert export_main(["--run", str(own_run), "--out", str(out), "--name", "Büro", "--licence", "CC-BY-4.0"]) == 0
    assert (load_manifest(out).name, load_manifest(out).licence) == ("Büro", "CC-BY-4.0")


@pytest.mark.parametrize("arguments", [["--name", ""], ["--name", "a\nb"], ["--name", "x" * 257], ["--licence", " "]])
def test_a_name_that_events_cannot_carry_is_refused(
    own_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert export_main(["--run", str(own_run), "--out", str(tmp_path / "m.onnx"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_every_variant_has_the_one_head(own_run: Path, tmp_path: Path) -> None:
    faces = load_faces(own_run.parent / "my-faces")
    for report in export(own_run, tmp_path, variants=tuple(VARIANTS.values())):
        assert report.manifest.outputs == ("probabilities",)
        assert report.manifest.metrics["accuracy_drop"] == report.drop.fer2013
        assert not [name for name in report.manifest.metrics if "ferplus" in name or "fer2013" in name]
        assert OnnxModel(report.path).classify(faces.pictures).ferplus.shape == (len(faces), 3)


def test_the_data_report_speaks_of_the_data_s_own_classes(own_run: Path, tmp_path: Path) -> None:
    assert data_report_main(["--data", str(own_run.parent / "my-faces"), "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "statistics.json").read_text(encoding="utf-8"))
    assert numbers["splits"]["all"]["class_counts"] == dict.fromkeys(OWN_CLASSES, 8)
    assert "bored: 8 pictures" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_comparison_measures_the_one_head(own_run: Path, tmp_path: Path) -> None:
    arguments = ["--configs", str(own_run.parent / "settings.yaml"), "--out", str(tmp_path), "--epochs", "1"]
    assert compare_main([*arguments, "--quiet"]) == 0
    (row,) = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))["rows"]
    assert row["fp32"]["ferplus_accuracy"] is None
    accuracy = load_checkpoint(tmp_path / "run" / "last.pt").metrics["accuracy"]
    assert row["fp32"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_classes_meet_by_name_whatever_their_order_and_word(tmp_path: Path) -> None:
    one = load_faces(save_class_folders(tmp_path / "one", ("Happiness", "bored"), num=2))
    other = load_faces(save_class_folders(tmp_path / "other", ("bored", "happy", "rage"), num=1))
    assert (one.class_names, other.class_names) == (("Happiness", "bored"), ("bored", "happy", "rage"))
    joined = join_face_sets([one, other])
    assert joined.class_names == ("Happiness", "bored", "rage")
    assert joined.labels.tolist() == [0, 0, 1, 1, 1, 0, 2]
    with pytest.raises(SourceRejectedError, match="rage"):
        other.with_classes(one.class_names)


def test_a_net_learns_the_classes_that_occur(tmp_path: Path) -> None:
    data = save_class_folders(tmp_path / "data", ("happy", "neutral", "sad"), num=5)
    config = load_config(write_settings(tmp_path / "s.yaml", data))
    training, validation = load_splits(config.data)
    assert training.class_names == validation.class_names == ("happy", "sad", "neutral")
    lone = save_class_folders(tmp_path / "lone", ("happy",), num=5)
    with pytest.raises(ConfigError):
        load_splits(load_config(write_settings(tmp_path / "s.yaml", lone)).data)


def test_contempt_is_a_class_of_who_has_it(tmp_path: Path) -> None:
    eight = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    data = save_class_folders(tmp_path / "data", eight, num=5)
    config = load_config(write_settings(tmp_path / "s.yaml", data, epochs=1))
    fit(config, tmp_path / "run", show_progress=False)
    (report,) = export(tmp_path / "run", tmp_path / "out", variants=(VARIANTS["fp32"],))
    assert report.manifest.labels == (*EMOTIONS, "contempt")
    for model, num in ((report.path, 40), (SHIPPED_MODEL, 35)):
        assert evaluate_main(["--data", str(data), "--model", str(model), "--json"]) == 0
        assert len(load_faces(data, class_names=OnnxModel(model).manifest.labels)) == num


def test_a_model_is_not_measured_on_classes_that_it_does_not_know(own_run: Path, tmp_path: Path) -> None:
    (report,) = export(own_run, tmp_path, variants=(VARIANTS["fp32"],))
    with pytest.raises(ManifestError, match=r"attentive, bored.*angry, disgust"):
        evaluate_model(report.path, made_faces(14))


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    save_class_folders(tmp_path / "data", ("a", "b"), num=5)
    config = load_config(write_settings(tmp_path / "s.yaml", tmp_path / "data", epochs=1))
    fit(config, tmp_path / "run", show_progress=False)
    save_class_folders(tmp_path / "data", ("c",), num=5)
    with pytest.raises(ConfigError, match=r"classes a, b .*classes a, b, c"):
        fit(config, tmp_path / "run", show_progress=False)


def test_a_net_with_other_classes_cannot_be_start_or_teacher(own_run: Path, tmp_path: Path) -> None:
    data = save_class_folders(tmp_path / "data", ("a", "b", "c"), num=5)
    config = load_config(write_settings(tmp_path / "s.yaml", data, epochs=1))
    other = str(own_run / "last.pt")
    with pytest.raises(ManifestError, match=r"attentive, .*a, b, c.*transfer\.pret"):
        fit(dataclasses.replace(config, initial_checkpoint=other), tmp_path / "run", show_progress=False)
    distill = dataclasses.replace(config.distill, teachers=(other,))
    with pytest.raises(ManifestError):
        fit(dataclasses.replace(config, distill=distill), tmp_path / "run", show_progress=False)
    taken = dataclasses.replace(
        config, transfer=dataclasses.replace(config.transfer, pretrained=other, load_heads=True)
    )
    fit(taken, tmp_path / "run", show_progress=False)


@pytest.mark.parametrize("num_views", [0, 1])
def test_one_head_learns_from_teachers_of_one_head(own_run: Path, tmp_path: Path, num_views: int) -> None:
    config = load_config(own_run / "config.yaml", overrides=("optim.epochs=1", f"distill.num_views={num_views}"))
    taught = dataclasses.replace(
        config, distill=dataclasses.replace(config.distill, teachers=(str(own_run / "last.pt"),))
    )
    fit(taught, tmp_path / "run", show_progress=False)
    assert load_checkpoint(tmp_path / "run" / "last.pt").num_targets == {"fer2013": 18}


# --- a head that learned from nothing ---------------------------------------------------------------------------------


def test_a_head_without_targets_is_not_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As an older version left it: both heads, data without votes, and no count of what they learned from."""
    config = tiny_config_in(tmp_path)
    for name in ("training.npz", "validation.npz"):
        save_npz(dataclasses.replace(load_faces(tmp_path / name), votes=None), tmp_path / name)
    weights = build_model(config.model).state_dict()
    run = tmp_path / "run"
    run.mkdir()
    fit(config, tmp_path / "new", show_progress=False)
    new = load_checkpoint(tmp_path / "new" / "last.pt")
    old = dataclasses.replace(new, task=Task(), num_targets=None, weights=weights, ema_weights=weights)
    save_checkpoint(old, run / "last.pt")
    content = torch.load(run / "last.pt", weights_only=True)
    torch.save(
        {key: value for key, value in content.items() if key not in ("class_names", "has_votes")}, run / "last.pt"
    )
    assert export_main(["--run", str(run), "--out", str(tmp_path / "out" / "m.onnx")]) == 5
    error = capsys.readouterr().err
    assert "'probabilities', which events carry, learned from no picture" in error
    assert error.strip().endswith("nothing was written")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_second_head_without_weight_is_not_exported(tmp_path: Path) -> None:
    config = tiny_config_in(tmp_path)
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, fer2013_weight=0.0, epochs=1))
    fit(config, tmp_path / "run", show_progress=False)
    assert load_checkpoint(tmp_path / "run" / "last.pt").num_targets == {"fer2013": 0, "ferplus": 128}
    with pytest.raises(ManifestError, match=r"optim\.fer2013_weight"):
        export(tmp_path / "run", tmp_path / "out")


def test_votes_without_weight_leave_one_head_for_the_labels(tmp_path: Path) -> None:
    config = tiny_config_in(tmp_path)
    unasked = dataclasses.replace(config, optim=dataclasses.replace(config.optim, ferplus_weight=0.0))
    training, _ = load_sets(unasked)
    assert task_of(training, unasked) == Task(EMOTIONS, has_votes=False)
    nothing = dataclasses.replace(
        config, optim=dataclasses.replace(config.optim, ferplus_weight=0.0, fer2013_weight=0.0)
    )
    with pytest.raises(ConfigError):
        task_of(training, nothing)


def test_a_model_of_two_heads_is_measured_by_what_events_carry(tmp_path: Path) -> None:
    """Data without votes asks the first output, however good the second is."""
    config = tiny_config_in(tmp_path)
    fit(
        dataclasses.replace(config, optim=dataclasses.replace(config.optim, epochs=6)),
        tmp_path / "run",
        show_progress=False,
    )
    (report,) = export(
        tmp_path / "run", tmp_path / "out", variants=(VARIANTS["fp32"],), options=ExportOptions(name="two")
    )
    faces = dataclasses.replace(made_faces(70, seed=5), votes=None)
    outputs = OnnxModel(report.path).classify(faces.pictures)
    evaluation = evaluate_model(report.path, faces)
    assert evaluation.fer2013.accuracy == float((outputs.ferplus.argmax(axis=1) == faces.labels).mean())
    assert evaluation.label_output == "probabilities"
    assert evaluation.calibration["fer2013"].temperature == report.manifest.metrics["temperature_ferplus"]
    voted = evaluate_model(report.path, made_faces(70, seed=5))
    assert voted.label_output == "fer2013_probabilities"
    assert voted.fer2013.accuracy == float((outputs.fer2013.argmax(axis=1) == faces.labels).mean())


def test_stripes_differ_from_class_to_class() -> None:
    means = np.stack([striped(place, 0).mean(axis=1) for place in range(7)])
    assert np.abs(np.corrcoef(means) - np.eye(7)).max() < 0.3
