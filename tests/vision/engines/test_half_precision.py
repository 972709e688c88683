"""A model in half precision answers as in full, and only the part with weights is converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from emostream.errors import ManifestError
from emostream.vision.engines.half_precision import full_from_stored, half_from_full, store_weights_in_half

SIDE = 8
Array = npt.NDArray[Any]


def weights(name: str, *shape: int, scale: float = 0.3) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).normal(scale=scale, size=shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def model_of(nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto], **outputs: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def residual_net() -> onnx.ModelProto:
    """Sums of squares before, softmax after; in between a residual block, and maps that are an output themselves."""
    node = helper.make_node
    nodes = [
        node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["float", "one"], ["pixels"]),
        node("ReduceSumSquare", ["pixels"], ["energy"], axes=[2, 3]),  # beyond 65,504 for any picture
        node("Sqrt", ["energy"], ["length"]),
        node("Div", ["pixels", "length"], ["standard"]),
        node("Conv", ["standard", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        node("Clip", ["c0", "zero", "six"], ["a0"]),
        node("Conv", ["a0", "w1", "b0"], ["c1"], pads=[1, 1, 1, 1]),
        node("Add", ["c1", "a0"], ["maps"]),
        node("Resize", ["maps", "", "scales"], ["large"], mode="nearest"),
        node("GlobalAveragePool", ["large"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w2"], ["logits"]),
        node("Mul", ["logits", "six"], ["sharp"]),
        node("Softmax", ["sharp"], ["probabilities"], axis=1),
    ]
    initializers = [
        weights("w0", 4, 1, 3, 3),
        weights("w1", 4, 4, 3, 3),
        weights("b0", 4),
        weights("w2", 4, 3),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
        numpy_helper.from_array(np.array(6, np.float32), "six"),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
    ]
    return model_of(nodes, initializers, probabilities=["batch", 3], maps=["batch", 4, SIDE, SIDE])


def run(model: onnx.ModelProto, crops: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"crops": crops})]


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    return {value.name: value.type.tensor_type.elem_type for value in values}


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
@settings(deadline=None, max_examples=20)
def test_answers_stay_close_for_any_batch(seed: int, num: int) -> None:
    crops = np.random.default_rng(seed).integers(0, 256, (num, SIDE, SIDE), dtype=np.uint8)
    for before, after in zip(run(residual_net(), crops), run(half_from_full(residual_net()), crops), strict=True):
        assert after.dtype == np.float32
        np.testing.assert_allclose(after, before, atol=5e-3)


def test_only_what_lies_between_the_weights_computes_in_half() -> None:
    half = half_from_full(residual_net())
    types = element_types(half)
    for node in half.graph.node:
        if node.op_type in ("Conv", "Clip", "Add", "Resize", "GlobalAveragePool", "Flatten", "Gemm"):
            assert types[node.output[0]] == TensorProto.FLOAT16, node.op_type
        elif node.op_type in ("ReduceSumSquare", "Sqrt", "Div", "Mul", "Softmax"):
            assert types[node.output[0]] == TensorProto.FLOAT, node.op_type
    assert {value.name: types[value.name] for value in [*half.graph.input, *half.graph.output]} == {
        "crops": TensorProto.UINT8,
        "probabilities": TensorProto.FLOAT,
        "maps": TensorProto.FLOAT,
    }


def test_what_is_used_on_both_sides_exists_in_both_precisions() -> None:
    half = half_from_full(residual_net())
    stored = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert stored["six"] == TensorProto.FLOAT
    assert stored["six_half"] == TensorProto.FLOAT16
    assert stored["scales"] == TensorProto.FLOAT  # the specification wants it so
    assert "w0" not in stored


def test_the_model_that_was_given_is_not_changed() -> None:
    model = residual_net()
    before = model.SerializeToString(deterministic=True)
    half_from_full(model)
    store_weights_in_half(model)
    assert model.SerializeToString(deterministic=True) == before


def test_weights_stored_in_half_make_the_same_model() -> None:
    assert half_from_full(store_weights_in_half(residual_net())).SerializeToString(deterministic=True) == (
        half_from_full(residual_net()).SerializeToString(deterministic=True)
    )


def test_stored_weights_halve_a_large_file_and_come_back(tmp_path: Path) -> None:
    model = residual_net()
    large = weights("w1", 4, 4, 3, 3)
    wide = np.tile(numpy_helper.to_array(large), (16, 1, 1, 1))  # 64 filters: worth storing in half
    nodes = [*model.graph.node[:7], helper.make_node("Conv", ["a0", "w1"], ["maps"])]
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in ("w1", "w2", "scales")]
    model = model_of(nodes, [*kept, numpy_helper.from_array(wide, "w1")], maps=["batch", 64, SIDE - 2, SIDE - 2])
    stored = store_weights_in_half(model)
    assert stored.ByteSize() < model.ByteSize() - 0.9 * 2 * wide.size
    back = {tensor.name: numpy_helper.to_array(tensor) for tensor in full_from_stored(stored).graph.initializer}
    np.testing.assert_array_equal(back["w1"], wide.astype(np.float16).astype(np.float32))
    assert [node.op_type for node in full_from_stored(stored).graph.node] == [node.op_type for node in nodes]


def test_weights_beyond_half_precision_are_refused() -> None:
    model = residual_net()
    for tensor in model.graph.initializer:
        if tensor.name == "w1":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e6), "w1"))
    with pytest.raises(ManifestError, match="w1"):
        half_from_full(model)


def test_a_quantised_model_is_refused() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["crops", "scale"], ["maps"]),
    ]
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "scale")
    with pytest.raises(ManifestError):
        half_from_full(model_of(nodes, [scale], maps=["batch", SIDE, SIDE]))


def test_a_model_with_branches_is_refused() -> None:
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [])
    constant = helper.make_node("Constant", [], ["inner"], value_float=1.0)
    branch = helper.make_graph([constant], "branch", [], [value])
    nodes = [helper.make_node("If", ["yes"], ["maps"], then_branch=branch, else_branch=branch)]
    with pytest.raises(ManifestError):
        half_from_full(model_of(nodes, [numpy_helper.from_array(np.array(True), "yes")], maps=[]))
