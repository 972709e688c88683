"""A folded graph answers what the graph with its pools answers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from training.convert.pool_folding import fold_pools, pool_before_first_activation


def pooled(*, kernel: int = 2, pads: int = 0, conv_side: int = 1, has_second_reader: bool = False) -> onnx.ModelProto:
    """Average pool, then convolution, on n×3×8×8."""
    random = np.random.default_rng(3)
    weights = {
        "w": random.normal(size=(5, 3, conv_side, conv_side)).astype(np.float32),
        "b": random.normal(size=5).astype(np.float32),
    }
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[kernel] * 2, strides=[kernel] * 2, pads=[pads] * 4),
        helper.make_node("Conv", ["p", "w", "b"], ["y"], kernel_shape=[conv_side] * 2),
    ]
    outputs = ["y"]
    if has_second_reader:
        nodes.append(helper.make_node("Relu", ["p"], ["z"]))
        outputs.append("z")
    graph = helper.make_graph(
        nodes,
        "pooled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outputs_of(model: onnx.ModelProto) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(4).normal(size=(2, 3, 8, 8)).astype(np.float32)
    return [np.asarray(output) for output in session.run(None, {"x": x})]


def operators_of(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("kernel", [2, 4])
def test_pool_and_pointwise_convolution_become_one(kernel: int) -> None:
    model = pooled(kernel=kernel)
    folded = fold_pools(model)
    assert operators_of(folded) == ["Conv"]
    assert operators_of(model) == ["AveragePool", "Conv"]
    for expected, got in zip(outputs_of(model), outputs_of(folded), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "kept", [pooled(pads=1), pooled(conv_side=3), pooled(has_second_reader=True)], ids=["pads", "3×3", "second reader"]
)
def test_what_would_change_the_answer_is_left_alone(kept: onnx.ModelProto) -> None:
    assert operators_of(fold_pools(kept)) == operators_of(kept)


def stem(*, activation: str = "Relu", has_second_reader: bool = False) -> onnx.ModelProto:
    """Convolution, activation, largest of 2×2, and one more convolution, on n×3×8×8."""
    random = np.random.default_rng(5)
    weights = {name: random.normal(size=(3, 3, 3, 3)).astype(np.float32) for name in ("w1", "w2")}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], name="first"),
        helper.make_node(activation, ["c"], ["a"], name="activation"),
        helper.make_node("MaxPool", ["a"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w2"], ["y"], name="second"),
    ]
    outputs = ["y", "a"] if has_second_reader else ["y"]
    graph = helper.make_graph(
        nodes,
        "stem",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_pool_comes_before_the_first_activation() -> None:
    model = stem()
    moved = pool_before_first_activation(model)
    assert [node.name for node in moved.graph.node] == ["first", "pool", "activation", "second"]
    assert operators_of(model) == ["Conv", "Relu", "MaxPool", "Conv"]
    for expected, got in zip(outputs_of(model), outputs_of(moved), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kept", [stem(activation="Neg"), stem(has_second_reader=True), pooled()])
def test_other_pools_stay_where_they_are(kept: onnx.ModelProto) -> None:
    assert pool_before_first_activation(kept) == kept
