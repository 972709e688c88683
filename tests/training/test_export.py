"""Export: the file computes what the net computes, describes itself, and appears whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from emostream.classify.manifest import load_manifest
from emostream.classify.preprocess import batch_from_pictures
from emostream.emotion import EMOTIONS
from emostream.errors import ManifestError
from tests.training.made import made_faces
from training import export as module
from training.config import ModelConfig, TrainConfig
from training.export import export, main
from training.inference import HeadOutputs, open_session, run_session
from training.model import CompactNet, build_model
from training.onnx_graph import (
    INPUT_NAME,
    OPSET,
    OUTPUT_NAMES,
    ServedModel,
    Temperatures,
    onnx_from_model,
    store_weights_in_half,
)
from training.parity import compare, require_parity
from training.quantize import int8_from_onnx
from training.train import fit

CROPS = batch_from_pictures(made_faces(21).pictures)


def tiny_net() -> CompactNet:
    torch.manual_seed(0)
    model = build_model(ModelConfig(widths=(8, 16), depths=(1, 1)))
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(torch.from_numpy(CROPS))  # batch statistics that are not those of a fresh net
    return model.eval()


def outputs_of(model: onnx.ModelProto, path: Path, crops: np.ndarray = CROPS) -> HeadOutputs:
    onnx.save(model, path)
    return run_session(open_session(path, num_threads=1), crops, output_names=OUTPUT_NAMES, input_name=INPUT_NAME)


def expected_of(served: ServedModel) -> HeadOutputs:
    with torch.no_grad():
        ferplus, fer2013 = served(torch.from_numpy(CROPS))
    return HeadOutputs(ferplus.numpy(), fer2013.numpy())


def test_the_graph_computes_what_the_net_computes(tmp_path: Path) -> None:
    served = ServedModel(tiny_net(), Temperatures(ferplus=0.5, fer2013=2.0))
    graph = onnx_from_model(served, input_size_pixels=64)
    parity = compare(expected_of(served), outputs_of(graph, tmp_path / "m.onnx"))
    assert parity.argmax_agreement == 1
    assert parity.max_difference < 1e-5
    assert [entry.version for entry in graph.opset_import] == [OPSET]
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}


@pytest.mark.parametrize("num", [1, 3, 64])
def test_any_batch_size_gives_distributions(tmp_path: Path, num: int) -> None:
    graph = onnx_from_model(ServedModel(tiny_net(), Temperatures()), input_size_pixels=64)
    outputs = outputs_of(graph, tmp_path / "m.onnx", np.resize(CROPS, (num, 64, 64)))
    for probabilities in (outputs.ferplus, outputs.fer2013):
        assert probabilities.shape == (num, 7)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_weights_in_half_precision_halve_the_file_and_keep_the_answers(tmp_path: Path) -> None:
    graph = onnx_from_model(ServedModel(tiny_net(), Temperatures()), input_size_pixels=64)
    small = store_weights_in_half(graph)
    parity = compare(outputs_of(graph, tmp_path / "a.onnx"), outputs_of(small, tmp_path / "b.onnx"))
    assert parity.max_difference < 5e-3
    saved = (tmp_path / "a.onnx").stat().st_size - (tmp_path / "b.onnx").stat().st_size
    assert saved > 0.3 * 4 * sum(np.prod(tensor.dims) for tensor in graph.graph.initializer)


def test_int8_stays_close(tmp_path: Path) -> None:
    graph = onnx_from_model(ServedModel(tiny_net(), Temperatures()), input_size_pixels=64)
    quantized = int8_from_onnx(graph, CROPS)
    parity = compare(outputs_of(graph, tmp_path / "a.onnx"), outputs_of(quantized, tmp_path / "b.onnx"))
    assert parity.mean_difference < 0.02
    assert "QuantizeLinear" in {node.op_type for node in quantized.graph.node}


def test_the_layout_for_tensorrt_has_signed_symmetric_activations_and_no_quantised_bias() -> None:
    graph = onnx_from_model(ServedModel(tiny_net(), Temperatures()), input_size_pixels=64)
    quantized = int8_from_onnx(graph, CROPS, layout="tensorrt")
    types = {tensor.name: tensor.data_type for tensor in quantized.graph.initializer}
    inputs = [node.input for node in quantized.graph.node if node.op_type == "DequantizeLinear"]
    assert onnx.TensorProto.INT32 not in {types.get(names[0]) for names in inputs}
    assert {types[names[2]] for names in inputs} == {onnx.TensorProto.INT8}


def test_a_changed_model_fails_the_proof() -> None:
    reference = HeadOutputs(np.eye(7, dtype=np.float32), np.eye(7, dtype=np.float32))
    changed = HeadOutputs(reference.ferplus, np.roll(reference.fer2013, 1, axis=1))
    with pytest.raises(ManifestError, match="nothing was written"):
        require_parity(compare(reference, changed), precision="int8")
    broken = HeadOutputs(reference.ferplus, reference.fer2013 * np.float32("nan"))
    with pytest.raises(ManifestError, match="does not match the trained one"):
        require_parity(compare(reference, broken), precision="fp32")


@pytest.fixture
def run(tmp_path: Path, tiny_config: TrainConfig) -> Path:
    fit(tiny_config, tmp_path / "run", show_progress=False)
    return tmp_path / "run"


def test_the_file_and_its_manifest_describe_the_run(tmp_path: Path, run: Path) -> None:
    report = export(run, tmp_path / "out" / "emotions.onnx")
    manifest = load_manifest(tmp_path / "out" / "emotions.onnx")
    assert manifest == report.manifest
    assert manifest.labels == EMOTIONS
    assert manifest.metrics["validation_accuracy"] == pytest.approx(report.evaluation.fer2013.accuracy, abs=1e-6)
    assert manifest.metrics["parity_argmax_agreement"] == 1
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "out" / "emotions.onnx").metadata_props}
    assert json.loads(properties["labels"]) == list(EMOTIONS)
    assert properties["version"] == manifest.version
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["emotions.json", "emotions.onnx"]


def test_a_failed_proof_leaves_the_old_file(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "emotions.onnx"
    assert main(["--run", str(run), "--out", str(out)]) == 0
    before = out.read_bytes()

    def other_answers(model_path: Path, crops: np.ndarray) -> HeadOutputs:
        random = np.random.default_rng(0).random((2, len(crops), 7)).astype(np.float32)
        return HeadOutputs(random[0], random[1])

    monkeypatch.setattr(module, "_run", other_answers)
    capsys.readouterr()
    assert main(["--run", str(run), "--out", str(out)]) == 5
    assert capsys.readouterr().err.startswith("error: the fp32 model does not match")
    assert out.read_bytes() == before
    assert sorted(path.name for path in out.parent.iterdir()) == ["emotions.json", "emotions.onnx"]


def test_a_run_without_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path), "--out", str(tmp_path / "m.onnx")]) == 5
    assert "last.pt does not exist" in capsys.readouterr().err
