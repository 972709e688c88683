"""A tiny model that TensorRT takes: a convolution, its mean, and a softmax, from uint8 crops."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 16


def tiny_model(*, is_quantized: bool = False) -> onnx.ModelProto:
    """Crops uint8 n×16×16 → probabilities float32 n×7. `is_quantized` puts in what TensorRT refuses."""
    node = helper.make_node
    random = np.random.default_rng(0)
    nodes = [
        node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["float", "one"], ["nchw"]),
        node("Mul", ["nchw", "scale"], ["pixels"]),
        node("Conv", ["pixels", "kernels", "bias"], ["maps"]),
        node("Relu", ["maps"], ["active"]),
        node("ReduceMean", ["active"], ["means"], axes=[2, 3], keepdims=0),
        node("Softmax", ["means"], ["probabilities"], axis=1),
    ]
    weights: dict[str, npt.NDArray[Any]] = {
        "one": np.array([1], np.int64),
        "scale": np.array(1 / 255, np.float32),
        "kernels": random.normal(size=(7, 1, 3, 3)).astype(np.float32),
        "bias": random.normal(size=7).astype(np.float32),
    }
    if is_quantized:
        nodes.insert(0, node("DequantizeLinear", ["bias_int", "scale", "zero"], ["bias"]))
        weights |= {"bias_int": np.arange(7, dtype=np.int32), "zero": np.array(0, np.int32)}
        del weights["bias"]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", SIDE, SIDE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 7])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
