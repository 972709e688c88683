"""Every architecture: shapes, gradients, stages, the ONNX form and its INT8 variant; and what settings it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from emostream.errors import ConfigError
from emostream.vision.classify.preprocess import batch_from_pictures
from tests.training.made import made_faces
from training.config import ModelConfig
from training.convert.onnx_graph import (
    INPUT_NAME,
    OTHER_VOTES_NAME,
    OUTPUT_NAMES,
    ServedModel,
    onnx_from_model,
    output_names_of,
)
from training.convert.quantize import int8_from_onnx
from training.convert.scaled_graph import with_scalings
from training.loop.validation import predict
from training.measure.inference import HeadOutputs, open_session, run_session
from training.measure.scalings import HeadScalings
from training.measure.temperature import Scaling
from training.nets.build import FaceNet, build_model, num_multiply_adds
from training.nets.repvgg import folded

pytestmark = pytest.mark.heavy

CROPS = batch_from_pictures(made_faces(14).pictures)
FAMILIES = {
    "compact": ModelConfig("compact", widths=(8, 16), depths=(1, 1)),
    "repvgg": ModelConfig("repvgg", widths=(8, 16), depths=(1, 2)),
    "vgg": ModelConfig("vgg", widths=(8, 16, 24), depths=(1, 1, 2)),
    "resnet": ModelConfig("resnet", widths=(8, 16), depths=(1, 2)),
    "inception": ModelConfig("inception"),
    "efficientnet_lite": ModelConfig("efficientnet_lite"),
}
WHOLE_NETS = {
    "vgg11_bn": ModelConfig("vgg", "vgg11_bn"),
    "resnet18": ModelConfig("resnet", "resnet18"),
    "inception_v3": ModelConfig("inception", "inception_v3"),
    "lite0": ModelConfig("efficientnet_lite", "lite0", stem_stride=1),
}


@pytest.fixture(params=FAMILIES)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return FAMILIES[request.param]


def awake(config: ModelConfig) -> FaceNet:
    """A net with batch statistics of some crops, none of whose blocks starts as its shortcut."""
    torch.manual_seed(0)
    model = build_model(config).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            module.momentum = None  # the plain mean: a few batches are enough
    with torch.no_grad():
        for _ in range(3):
            model(torch.from_numpy(CROPS))
    return model.eval()


@pytest.mark.parametrize("side", [48, 64])
@pytest.mark.parametrize("name", [*FAMILIES, *WHOLE_NETS])
def test_takes_crops_of_both_sides(name: str, side: int) -> None:
    model = build_model((FAMILIES | WHOLE_NETS)[name]).eval()
    crops = torch.randint(0, 256, (2, side, side), dtype=torch.uint8)
    with torch.no_grad():
        maps = model.features(crops)
        logits = model(crops)
    assert maps.shape[:2] == (2, model.fer2013_head.in_features)
    assert all(head.shape == (2, 7) for head in logits)
    torch.testing.assert_close(model.heads(maps), logits)


def test_gradients_reach_every_weight(config: ModelConfig) -> None:
    model = awake(config).train()
    ferplus, fer2013 = model(torch.from_numpy(CROPS))
    (ferplus.square().sum() + fer2013.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # A bias before a batch norm has a gradient, but the norm takes out what it does.
        assert parameter.dim() == 1 or float(parameter.grad.abs().max()) > 0, name


def test_the_stages_are_the_trunk(config: ModelConfig) -> None:
    model = build_model(config)
    in_stages = [parameter for stage in model.stages() for parameter in stage.parameters()]
    heads = list(model.head_modules().parameters())
    assert [id(parameter) for parameter in (*in_stages, *heads)] == [id(parameter) for parameter in model.parameters()]
    assert len(model.stages()) >= 3


def outputs_of(graph: onnx.ModelProto, path: Path) -> HeadOutputs:
    onnx.save(graph, path)
    session = open_session(path, num_threads=1)
    return run_session(session, CROPS, output_names=OUTPUT_NAMES, input_name=INPUT_NAME)


def test_onnx_and_int8_compute_what_the_net_computes(tmp_path: Path, config: ModelConfig) -> None:
    served = ServedModel(awake(config), HeadScalings())
    with torch.no_grad():
        expected = [probabilities.numpy() for probabilities in served(torch.from_numpy(CROPS))]
    graph = onnx_from_model(served, input_size_pixels=64)
    exact = outputs_of(graph, tmp_path / "fp32.onnx")
    for before, after in zip(expected, (exact.ferplus, exact.fer2013), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5)
    quantized = int8_from_onnx(graph, CROPS)
    close = outputs_of(quantized, tmp_path / "int8.onnx")
    for before, after in zip(expected, (close.ferplus, close.fer2013), strict=True):
        assert float(np.abs(after - before).mean()) < 0.05
    kinds = [node.op_type for node in quantized.graph.node]
    assert kinds.count("QuantizeLinear") >= kinds.count("Conv") // 2
    used = {name for node in quantized.graph.node for name in node.input}
    assert {node.output[0] for node in quantized.graph.node if node.op_type == "Constant"} <= used


def test_branches_become_one_convolution_that_computes_the_same() -> None:
    model = awake(ModelConfig("repvgg", widths=(8, 16), depths=(2, 2)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    served = folded(model)
    assert isinstance(served, FaceNet)
    crops = torch.from_numpy(CROPS)
    with torch.no_grad():
        for one, other in zip(model(crops), served(crops), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    convolutions = [module for module in served.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.kernel_size for conv in convolutions] == [(3, 3)] * 5
    assert not any(isinstance(module, nn.BatchNorm2d) for module in served.blocks.modules())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_only_the_served_form_of_branches_is_counted() -> None:
    model = build_model(ModelConfig("repvgg", widths=(4, 6), depths=(1, 1)))
    stem, first, second = 24 * 24 * 9 * 4, 24 * 24 * 9 * 4 * 4, 12 * 12 * 9 * 4 * 6
    assert num_multiply_adds(model, side=48) == stem + first + second + 2 * 6 * 7


def test_other_votes_stand_behind_the_classes() -> None:
    model = build_model(ModelConfig(widths=(8, 16), depths=(1, 1), other_votes=True)).eval()
    votes, labels = model(torch.from_numpy(CROPS))
    assert (votes.shape, labels.shape) == ((len(CROPS), 10), (len(CROPS), 7))
    words, by_label = predict(model, torch.from_numpy(CROPS))
    torch.testing.assert_close((words, by_label), (votes[:, :7], labels), atol=1e-4, rtol=1e-4)


def test_other_votes_are_a_further_output_of_the_file(tmp_path: Path) -> None:
    config = ModelConfig("repvgg", widths=(8, 16), depths=(1, 1), other_votes=True)
    served = ServedModel(awake(config), HeadScalings())
    with torch.no_grad():
        expected = [each.numpy() for each in served(torch.from_numpy(CROPS))]
    graph = onnx_from_model(served, input_size_pixels=64)
    assert output_names_of(graph) == (*OUTPUT_NAMES, OTHER_VOTES_NAME)
    # Another scaling of the heads leaves them as they are.
    scaled = with_scalings(graph, HeadScalings(ferplus=Scaling(2.0)))
    for number, model in enumerate((graph, int8_from_onnx(graph, CROPS), scaled)):
        path = tmp_path / f"{number}.onnx"
        onnx.save(model, path)
        answers = run_session(
            open_session(path, num_threads=1),
            CROPS,
            output_names=OUTPUT_NAMES,
            input_name=INPUT_NAME,
            other_votes_output=OTHER_VOTES_NAME,
        )
        assert answers.other_votes is not None
        assert answers.other_votes.shape == (len(CROPS), 3)
        np.testing.assert_allclose(answers.other_votes, expected[2], atol=0.1 if number == 1 else 1e-5)


def test_multiply_adds_are_those_counted_by_hand() -> None:
    model = build_model(ModelConfig("vgg", widths=(4, 6), depths=(1, 1))).train()
    at_full, at_half = 64 * 64 * 9 * 4, 32 * 32 * 9 * 4 * 6
    assert num_multiply_adds(model, side=64) == at_full + at_half + 2 * 6 * 7
    assert model.training


def test_the_default_net_is_the_one_described() -> None:
    assert num_multiply_adds(build_model(ModelConfig()), side=64) == 100_961_792


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig("resnet", "resnet50"), "model.variant of resnet must be one of small, resnet18, resnet34"),
        (ModelConfig("compact", "large"), "model.variant of compact must be one of small, got 'large'"),
        (ModelConfig("efficientnet_lite", stem_stride=4), "model.stem_stride of efficientnet_lite must be 1 or 2"),
        (ModelConfig("vgg", stem_stride=2), "model.stem_stride of vgg must be 1, got 2"),
    ],
    ids=["variant", "compact", "stride", "vgg"],
)
def test_says_what_an_architecture_offers(config: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(config)
