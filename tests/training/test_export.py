"""Export: files describe themselves, prove themselves, and appear all or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from emostream.domain.emotion import EMOTIONS
from emostream.domain.model_manifest import load_manifest
from emostream.errors import ManifestError
from emostream.vision.classify.ort_classifier import OrtClassifier
from tests.onnx_models import manifest_for
from tests.training.made import made_faces, save_npz, tiny_config_in
from tests.training.tiny_nets import CROPS
from tests.training.trained_nets import save_tiny_run
from training.convert.parity import accuracy_drop, compare_heads, require_same_model
from training.convert.variants import VARIANTS
from training.evaluate import Evaluation, evaluate
from training.export import export, infer_model, main
from training.loop.run import fit
from training.measure.inference import HeadOutputs

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fit(tiny_config_in(folder), folder / "run", show_progress=False)
    return folder / "run"


def test_the_file_and_its_manifest_describe_the_run(tmp_path: Path, run: Path) -> None:
    (report,) = export(run, tmp_path / "out", variants=(VARIANTS["fp32"],))
    manifest = load_manifest(tmp_path / "out" / "emotions-fp32.onnx")
    assert manifest == report.manifest
    assert manifest.labels == EMOTIONS
    assert manifest.metrics["validation_accuracy"] == pytest.approx(report.evaluation.fer2013.accuracy, abs=1e-6)
    assert manifest.metrics["parity_argmax_agreement"] == 1
    properties = {entry.key: entry.value for entry in onnx.load(report.path).metadata_props}
    assert json.loads(properties["labels"]) == list(EMOTIONS)
    assert properties["version"] == manifest.version


def test_all_variants_are_written_and_loaded_by_the_service(tmp_path: Path, run: Path) -> None:
    assert main(["--run", str(run), "--all", "--out", str(tmp_path / "out")]) == 0
    names = {"emotions", "emotions-fp16", "emotions-fp32", "emotions-int8-tensorrt"}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {f"{name}{suffix}" for name in names for suffix in (".onnx", ".json")}
    for name in names:
        with OrtClassifier(tmp_path / "out" / f"{name}.onnx") as classifier:
            assert classifier.classify(CROPS).shape == (len(CROPS), len(EMOTIONS))
    assert load_manifest(tmp_path / "out" / "emotions-int8-tensorrt.onnx").layout == "tensorrt"


def test_a_model_takes_crops_of_the_side_it_was_trained_at(tmp_path: Path) -> None:
    config = tiny_config_in(tmp_path)
    run, out = tmp_path / "small", tmp_path / "small.onnx"
    fit(replace(config, data=replace(config.data, crop_pixels=48)), run, show_progress=False)
    assert main(["--run", str(run), "--out", str(out)]) == 0
    with OrtClassifier(out) as classifier:
        assert classifier.manifest.input_size_pixels == 48
        assert classifier.classify(np.zeros((2, 48, 48), np.uint8)).shape == (2, 7)


@pytest.mark.parametrize("target", ["votes", "majority"])
def test_the_manifest_describes_the_ferplus_head(tmp_path: Path, run: Path, target: str) -> None:
    assert main(["--run", str(run), "--out", str(tmp_path / "m.onnx"), "--calibrate-ferplus", target]) == 0
    manifest = load_manifest(tmp_path / "m.onnx")
    assert manifest.metrics["temperature_ferplus"] == manifest.metrics[f"temperature_ferplus_{target}"]
    assert manifest.training_data.endswith(f"to the {target}")


def test_the_manifest_names_the_start_and_the_teachers_of_the_run(tmp_path: Path, run: Path) -> None:
    config = tiny_config_in(tmp_path)
    teacher = str(run / "last.pt")
    config = replace(
        config, initial_checkpoint=teacher, distill=replace(config.distill, teachers=(teacher, teacher), num_views=1)
    )
    fit(config, tmp_path / "pupil", show_progress=False)
    assert main(["--run", str(tmp_path / "pupil"), "--out", str(tmp_path / "m.onnx")]) == 0
    told = load_manifest(tmp_path / "m.onnx").training_data
    assert f"minutes after those of {run.name}, with the answers of {run.name}, {run.name}; logits" in told


@pytest.mark.parametrize("which", ["last", "best"])
def test_the_manifest_says_whether_the_epoch_was_chosen(tmp_path: Path, run: Path, which: str) -> None:
    assert main(["--run", str(run), "--out", str(tmp_path / "m.onnx"), "--checkpoint", which]) == 0
    told = load_manifest(tmp_path / "m.onnx").training_data
    assert ("epochs (the best on the validation data), " in told) == (which == "best")


def test_the_manifest_names_the_data_of_the_scaling(tmp_path: Path) -> None:
    data = save_npz(made_faces(70), tmp_path / "set.npz")
    assert (
        main(["--run", str(save_tiny_run(tmp_path / "run", validation=data)), "--out", str(tmp_path / "m.onnx")]) == 0
    )
    manifest = load_manifest(tmp_path / "m.onnx")
    assert "fitted on 10 % of the pictures kept apart by photograph" in manifest.training_data
    assert manifest.metrics["validation_n"] == 7


@pytest.mark.parametrize("fails_at", [0, 2])
def test_a_failed_proof_leaves_the_old_files(tmp_path: Path, run: Path, fails_at: int) -> None:
    out = tmp_path / "out"
    out.mkdir()
    before = {"emotions.onnx": b"the old model", "emotions.json": b"its manifest"}
    for name, content in before.items():
        (out / name).write_bytes(content)
    calls = 0

    def wrong_at_last(model_path: Path, crops: np.ndarray, *, output_names: tuple[str, ...]) -> HeadOutputs:
        nonlocal calls
        calls += 1
        outputs = infer_model(model_path, crops, output_names=output_names)
        return outputs if calls <= fails_at else HeadOutputs(outputs.ferplus, np.roll(outputs.fer2013, 1, axis=1))

    with pytest.raises(ManifestError, match=list(VARIANTS)[fails_at]):
        export(run, out, variants=tuple(VARIANTS.values()), infer=wrong_at_last)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_without_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path), "--out", str(tmp_path / "m.onnx")]) == 5
    assert "last.pt does not exist" in capsys.readouterr().err


# --- what a conversion may cost ---------------------------------------------------------------------------------------


def evaluation_with(num_wrong: int, num: int) -> tuple[HeadOutputs, Evaluation]:
    """Outputs for `num` made faces that are right but for the first `num_wrong`."""
    faces = made_faces(num)
    answers = faces.labels.copy()
    answers[:num_wrong] = (answers[:num_wrong] + 1) % 7
    probabilities = (0.3 * np.eye(7) + 0.1)[answers].astype(np.float32)
    outputs = HeadOutputs(probabilities, probabilities)
    return outputs, evaluate(faces, manifest_for(b""), outputs)


@pytest.mark.parametrize(
    ("num", "num_wrong", "is_refused"), [(1000, 5, False), (1000, 6, True), (100, 1, False), (100, 2, True)]
)
def test_half_a_point_of_accuracy_may_be_lost(num: int, num_wrong: int, is_refused: bool) -> None:
    expected, before = evaluation_with(0, num)
    outputs, after = evaluation_with(num_wrong, num)
    drop = accuracy_drop(before, after)
    assert (drop.fer2013, drop.ferplus) == pytest.approx((num_wrong / num, num_wrong / num))
    parity = replace(compare_heads(expected, outputs), argmax_agreement=1.0)

    def prove() -> None:
        require_same_model(parity, drop, precision="int8", what="the int8 model", num_ferplus=num)

    if is_refused:
        with pytest.raises(ManifestError):
            prove()
    else:
        prove()
