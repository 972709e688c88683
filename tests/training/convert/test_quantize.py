"""INT8 and FP16 variants: laid out as their engine wants it, close to what they were made from."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from emostream.errors import ManifestError
from emostream.vision.engines.trt.build import build_engine
from emostream.vision.engines.trt.package import load_package
from emostream.vision.engines.trt.profile import fixed
from tests.training.tiny_nets import CROPS, outputs_of, tiny_graph, tiny_net
from training.config import ModelConfig
from training.convert.activation_ranges import RangePolicy, largest_half_value, measure_ranges
from training.convert.onnx_graph import ServedModel, onnx_from_model
from training.convert.parity import compare_heads
from training.convert.quantize import QuantizedLayout, int8_from_onnx
from training.convert.variants import VARIANTS, VariantName, write_variant
from training.measure.scalings import HeadScalings

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return tiny_graph()


def operators(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {node.op_type for node in nodes}


@pytest.mark.parametrize("policy", get_args(RangePolicy))
@pytest.mark.parametrize("layout", get_args(QuantizedLayout))
def test_int8_stays_close(tmp_path: Path, graph: onnx.ModelProto, layout: QuantizedLayout, policy: RangePolicy) -> None:
    quantized = int8_from_onnx(graph, CROPS, layout=layout, policy=policy)
    parity = compare_heads(outputs_of(graph, tmp_path), outputs_of(quantized, tmp_path))
    assert parity.mean_difference < 0.02
    assert "QuantizeLinear" in operators(quantized.graph.node)


def test_the_model_that_was_given_is_not_changed(graph: onnx.ModelProto) -> None:
    before = graph.SerializeToString(deterministic=True)
    for variant in VARIANTS.values():
        write_variant(graph, variant, CROPS)
    assert graph.SerializeToString(deterministic=True) == before


def test_the_standardisation_and_the_first_convolution_stay_exact(graph: onnx.ModelProto) -> None:
    nodes = int8_from_onnx(graph, CROPS).graph.node
    first = next(index for index, node in enumerate(nodes) if node.op_type == "Conv")
    assert not {"QuantizeLinear", "DequantizeLinear"} & operators(
        node
        for node in nodes[: first + 1]
        if not node.output[0].startswith("onnx::")  # weights come first
    )
    (after,) = [node for node in nodes if nodes[first].output[0] in node.input]
    assert after.op_type == "Relu"


@pytest.mark.parametrize(("layout", "largest"), [("cpu", 64), ("vnni", 127)])
def test_weights_use_the_bits_that_the_processor_can_multiply(
    graph: onnx.ModelProto, layout: QuantizedLayout, largest: int
) -> None:
    initializers = int8_from_onnx(graph, CROPS, layout=layout).graph.initializer
    kernels = [onnx.numpy_helper.to_array(tensor) for tensor in initializers if len(tensor.dims) == 4]
    assert max(np.abs(kernel.astype(int)).max() for kernel in kernels if kernel.dtype == np.int8) == largest


def test_tensorrt_gets_signed_symmetric_activations_and_no_quantised_bias(graph: onnx.ModelProto) -> None:
    quantized = int8_from_onnx(graph, CROPS, layout="tensorrt")
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    for node in quantized.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[2]].dtype == np.int8
            assert not constants[node.input[2]].any()
        if node.op_type == "DequantizeLinear":
            assert constants.get(node.input[0], np.int8(0)).dtype == np.int8


def test_nothing_is_quantised_between_a_convolution_and_its_activation_for_tensorrt(graph: onnx.ModelProto) -> None:
    nodes = int8_from_onnx(graph, CROPS, layout="tensorrt").graph.node
    after_convolutions = {name for node in nodes if node.op_type == "Conv" for name in node.output}
    assert not [node.name for node in nodes if node.op_type == "QuantizeLinear" and node.input[0] in after_convolutions]


def test_ranges_span_what_was_seen(graph: onnx.ModelProto) -> None:
    extremes = measure_ranges(graph, CROPS, policy="extremes")
    for policy in get_args(RangePolicy):
        for name, (low, high) in measure_ranges(graph, CROPS, policy=policy).items():
            assert extremes[name][0] <= low <= high <= extremes[name][1]
    probabilities = extremes["probabilities"]
    assert 0 <= probabilities[0] < probabilities[1] <= 1


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_takes_and_gives_the_same(tmp_path: Path, graph: onnx.ModelProto, name: VariantName) -> None:
    written = write_variant(graph, VARIANTS[name], CROPS).graph
    values = [*written.graph.input, *written.graph.output]
    assert [(value.name, value.type.tensor_type.elem_type) for value in values] == [
        ("crops", TensorProto.UINT8),
        ("probabilities", TensorProto.FLOAT),
        ("fer2013_probabilities", TensorProto.FLOAT),
    ]
    assert compare_heads(outputs_of(graph, tmp_path), outputs_of(written, tmp_path)).mean_difference < 0.02


def test_half_precision_reports_its_largest_value(graph: onnx.ModelProto) -> None:
    written = write_variant(graph, VARIANTS["fp16"], CROPS)
    assert 1 < written.figures["largest_half_value"] < 1000
    assert written.figures["largest_half_value"] == largest_half_value(written.graph, CROPS)


def test_a_net_that_overflows_half_precision_is_refused(graph: onnx.ModelProto) -> None:
    loud = onnx.ModelProto()
    loud.CopyFrom(graph)
    for tensor in loud.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 4:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(100), tensor.name))
    with pytest.raises(ManifestError):
        write_variant(loud, VARIANTS["fp16"], CROPS)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["compact", "vgg", "resnet", "inception", "efficientnet_lite"])
def test_every_architecture_comes_in_every_variant_and_compiles(tmp_path: Path, architecture: Any) -> None:
    net = tiny_net(ModelConfig(architecture=architecture, widths=(8, 16, 32), depths=(1, 1, 1)))
    graph = onnx_from_model(ServedModel(net, HeadScalings()), input_size_pixels=64)
    reference = outputs_of(graph, tmp_path)
    for variant in VARIANTS.values():
        written = write_variant(graph, variant, CROPS).graph
        assert compare_heads(reference, outputs_of(written, tmp_path)).mean_difference < 0.02, variant.name
        if find_spec("tensorrt_rtx") is not None and variant.name != "int8":
            rtx = load_package("tensorrt_rtx")
            assert build_engine(rtx, written.SerializeToString(), profiles=[fixed((4, 64, 64))]).content
