"""The evaluation of a model file with known answers, and the real shipped model on real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.metrics import accuracy_score

from emostream.domain.emotion import EMOTIONS
from emostream.domain.model_manifest import ModelManifest, save_manifest, sha256_of
from tests.training.made import made_faces, save_npz
from training.data.face_set import FaceSet
from training.data.overlap import load_with_overlap
from training.evaluate import SHIPPED_MODEL, evaluate, evaluate_model, main
from training.measure.inference import OnnxModel


def save_brightness_model(path: Path, *, labels: tuple[str, ...] = EMOTIONS) -> Path:
    """A model that always answers class 3 (first head) and class 6 (second), the surer the brighter the crop."""
    nodes = [
        helper.make_node("Cast", ["crops"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Mul", ["column", "first"], ["first_logits"]),
        helper.make_node("Mul", ["column", "second"], ["second_logits"]),
        helper.make_node("Softmax", ["first_logits"], ["probabilities"], axis=1),
        helper.make_node("Softmax", ["second_logits"], ["fer2013_probabilities"], axis=1),
    ]
    first, second = np.eye(7, dtype=np.float32)[3] / 50, np.eye(7, dtype=np.float32)[6] / 50
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", 64, 64])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 7])
            for name in ("probabilities", "fer2013_probabilities")
        ],
        [
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("first", TensorProto.FLOAT, [1, 7], first),
            helper.make_tensor("second", TensorProto.FLOAT, [1, 7], second),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    manifest = ModelManifest(
        name="brightness",
        version="1",
        file=path.name,
        sha256=sha256_of(path),
        labels=labels,
        input_size_pixels=64,
        max_batch_size=8,
        architecture="made",
        training_data="none",
        licence="Apache-2.0",
    )
    save_manifest(manifest, model_path=path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_brightness_model(tmp_path / "model.onnx")


def test_counts_and_accuracies_of_known_answers(tmp_path: Path, model: Path) -> None:
    faces = made_faces(70)
    assert faces.votes is not None
    assert faces.duplicate_of_training is not None
    faces.votes[:4] = 0
    faces.votes[4:7, 7] = 10
    faces.duplicate_of_training[63:] = True
    faces.pictures[20] = 5
    data = save_npz(faces, tmp_path / "set.npz")
    evaluation = evaluate_model(model, faces_from(data)).as_dict()

    assert (evaluation["n"], evaluation["n_ferplus"], evaluation["n_duplicates"]) == (70, 63, 7)
    assert evaluation["n_blank"] == 1
    assert evaluation["n_left_out_ferplus"] == {"contempt": 3, "unknown": 0, "NF": 0, "no_votes": 4}
    assert evaluation["accuracy"] == accuracy_score(faces.labels, np.full(70, 6))
    assert evaluation["ferplus_accuracy"] == accuracy_score(faces.labels[7:], np.full(63, 3))
    assert evaluation["accuracy_without_duplicates"] == accuracy_score(faces.labels[:63], np.full(63, 6))
    assert evaluation["ferplus_accuracy_without_duplicates"] == accuracy_score(faces.labels[7:63], np.full(56, 3))
    assert evaluation["balanced_accuracy"] == pytest.approx(1 / 7)
    assert evaluation["per_class"]["neutral"]["recall"] == 1
    assert evaluation["ferplus_per_class"]["happy"]["recall"] == 1
    assert np.array(evaluation["confusion_matrix"]).sum() == 70
    assert evaluation["label_agreement"] == 1
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "ferplus_balanced_accuracy", "ferplus_macro_f1"):
        low, high = evaluation[f"{name}_interval"]
        assert low <= evaluation[name] <= high


def faces_from(path: Path) -> FaceSet:
    from training.data.load import load_faces

    return load_faces(path)


def test_json_without_votes_and_duplicates_has_nulls(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = made_faces(21)
    np.savez(tmp_path / "set.npz", images=faces.pictures, label=faces.labels)
    assert main(["--data", str(tmp_path / "set.npz"), "--model", str(model), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] == pytest.approx(1 / 7)
    for name in ("ferplus_accuracy", "accuracy_without_duplicates", "ferplus_accuracy_without_duplicates"):
        assert result[name] is None
    assert result["ferplus_per_class"] is None
    assert result["n_ferplus"] == 0


def test_calibration_before_its_temperature_needs_the_manifest_to_tell_it(tmp_path: Path) -> None:
    model = save_brightness_model(tmp_path / "model.onnx")
    figures = evaluate_model(model, made_faces(70)).as_dict()
    assert figures["ece_before"] is None
    path = model.with_suffix(".json")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["metrics"] = {"temperature_fer2013": 2.0, "temperature_ferplus": 1.0}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    told = evaluate_model(model, made_faces(70)).as_dict()
    assert told["ece"] == figures["ece"]
    assert told["ece_before"] != pytest.approx(told["ece"])
    assert told["ferplus_ece_before"] == pytest.approx(told["ferplus_ece"], abs=1e-6)
    assert told["ferplus_vote_ece_before"] == pytest.approx(told["ferplus_vote_ece"], abs=1e-6)
    assert len(told["reliability"]["fer2013"]["before"]["bins"]) == 15


def test_robustness_and_markdown_on_demand(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = save_npz(made_faces(21), tmp_path / "set.npz")
    arguments = ["--data", str(data), "--model", str(model), "--robustness", "--robustness-pictures", "7"]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["robustness"]["num_pictures"] == 7
    assert main([*arguments, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| balanced accuracy | 14.3 % (") for line in lines)
    assert any(line.startswith("| rotation (degrees, to either side) | ") for line in lines)
    columns = {line.count("|") for line in lines if line.startswith("|") and "face size" not in line}
    assert columns <= {3, 4, 5, 11}
    assert main(arguments) == 0
    assert "light from a side" in capsys.readouterr().out


def test_labels_of_the_model_may_stand_in_another_order(tmp_path: Path) -> None:
    # Class 3 and 6 of the file are now called happy→disgust and neutral→angry.
    labels = ("neutral", "happy", "fear", "disgust", "sad", "surprise", "angry")
    model = save_brightness_model(tmp_path / "model.onnx", labels=labels)
    evaluation = evaluate_model(model, made_faces(70))
    assert evaluation.fer2013.per_class["angry"].recall == 1
    assert evaluation.ferplus is not None
    assert evaluation.ferplus.per_class["disgust"].recall == 1


def test_tables_for_people(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = save_npz(made_faces(70), tmp_path / "set.npz")
    assert main(["--data", str(data), "--model", str(model)]) == 0
    text = capsys.readouterr().out
    assert "70 pictures" in text
    assert "14.29 %" in text


def break_model(path: Path) -> None:
    path.write_bytes(b"not a model")


def break_manifest(path: Path) -> None:
    path.with_suffix(".json").write_text("{", encoding="utf-8")


def break_labels(path: Path) -> None:
    save_brightness_model(path, labels=tuple("abcdefg"))


def make_foreign(path: Path) -> None:
    """A file with a right manifest that ONNX Runtime cannot read."""
    path.write_bytes(b"not a model")
    manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    manifest["sha256"] = sha256_of(path)
    path.with_suffix(".json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("break_it", "exit_code", "message"),
    [
        (lambda path: path.unlink(), 5, "does not exist"),
        (break_model, 5, "does not match its manifest"),
        (break_manifest, 5, "is not JSON"),
        (break_labels, 5, "knows a, b, c, d, e, f, g; the data has pictures of angry"),
        (make_foreign, 5, "cannot be loaded"),
        (lambda path: (path.parent / "set.npz").unlink(), 3, "does not exist"),
    ],
    ids=["no model", "changed model", "bad manifest", "other classes", "foreign model", "no data"],
)
def test_mistakes_give_one_line_and_an_exit_code(
    tmp_path: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    break_it: object,
    exit_code: int,
    message: str,
) -> None:
    data = save_npz(made_faces(7), tmp_path / "set.npz")
    break_it(model)  # type: ignore[operator]
    assert main(["--data", str(data), "--model", str(model)]) == exit_code
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("form", ["emotions.onnx", "emotions-fp32.onnx"])
def test_the_shipped_model_is_as_good_as_its_manifest_says(shared_data: Path, form: str) -> None:
    path = SHIPPED_MODEL.with_name(form)
    if not path.is_file():
        pytest.skip("no shipped model in this checkout")
    faces, overlap = load_with_overlap(shared_data / "fer2013", split="publictest")
    model = OnnxModel(path)
    measured = evaluate(faces, model.manifest, model.classify(faces.pictures), overlap=overlap).as_dict()
    told = {name.partition("_")[2]: value for name, value in model.manifest.metrics.items() if "publictest_" in name}
    assert {"accuracy", "ferplus_accuracy", "vote_cross_entropy", "ferplus_majority_mode_accuracy"} <= set(told)
    # Other processors round a few answers otherwise.
    assert {name: measured[name] for name in told} == pytest.approx(told, abs=0.005)
    assert told["accuracy"] >= 0.71
    assert told["ferplus_accuracy"] >= 0.85
