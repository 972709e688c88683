"""The network of matrix products computes what one of convolutions does, with weights of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from training.voice.activity import rewritten

_STATE = ("h", "c")


def with_convolutions() -> onnx.ModelProto:
    """The layers of Silero VAD, with random weights."""
    rng = np.random.default_rng(3)

    def weights(*shape: int) -> npt.NDArray[np.float32]:
        return np.asarray(rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])), np.float32)

    arrays = {"stft.forward_basis_buffer": weights(258, 1, 256)}
    for number, (num_out, num_in) in enumerate([(128, 129), (64, 128), (64, 64), (128, 64)]):
        arrays[f"encoder.{number}.weight"] = weights(num_out, num_in, 3)
        arrays[f"encoder.{number}.bias"] = weights(num_out)
    arrays |= {"W": weights(1, 512, 128), "R": weights(1, 512, 128), "B": weights(1, 1024)}
    arrays |= {"output.weight": weights(1, 128, 1), "output.bias": weights(1)}
    integers = {"pads": [0, 0, 0, 64], "one": [1], "rows": [0], "half": [129], "end": [258], "flat": [-1]}
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    constants += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in integers.items()]
    nodes = [
        helper.make_node("Pad", ["input", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Unsqueeze", ["padded", "one"], ["signal"]),
        helper.make_node("Conv", ["signal", "stft.forward_basis_buffer"], ["parts"], strides=[128]),
        helper.make_node("Mul", ["parts", "parts"], ["squares"]),
        helper.make_node("Slice", ["squares", "rows", "half", "one"], ["real"]),
        helper.make_node("Slice", ["squares", "half", "end", "one"], ["imaginary"]),
        helper.make_node("Add", ["real", "imaginary"], ["power"]),
        helper.make_node("Sqrt", ["power"], ["layer0"]),
    ]
    for number, step in enumerate([1, 2, 2, 1]):
        named = [f"encoder.{number}.weight", f"encoder.{number}.bias"]
        nodes += [
            helper.make_node("Conv", [f"layer{number}", *named], [f"sum{number}"], strides=[step], pads=[1, 1]),
            helper.make_node("Relu", [f"sum{number}"], [f"layer{number + 1}"]),
        ]
    nodes += [
        helper.make_node("Transpose", ["layer4"], ["steps"], perm=[0, 2, 1]),
        helper.make_node("LSTM", ["steps", "W", "R", "B", "", *_STATE], ["heard", "hn", "cn"], hidden_size=128),
        helper.make_node("Squeeze", ["heard", "one"], ["found"]),
        helper.make_node("Relu", ["found"], ["relu"]),
        helper.make_node("Transpose", ["relu"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["columns", "output.weight", "output.bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["shares"]),
        helper.make_node("Reshape", ["shares", "flat"], ["speech_probs"]),
    ]

    def info(name: str, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "made",
        [info("input", "n", 576), info("h", 1, 1, 128), info("c", 1, 1, 128)],
        [info("speech_probs", "n"), info("hn", 1, 1, 128), info("cn", 1, 1, 128)],
        initializer=constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)


def test_the_rewritten_network_computes_the_same() -> None:
    model = with_convolutions()
    rng = np.random.default_rng(0)
    inputs = {"input": rng.standard_normal((9, 576)).astype(np.float32)}
    inputs |= {name: rng.standard_normal((1, 1, 128)).astype(np.float32) for name in _STATE}
    expected, found = (
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)
        for each in (model, rewritten(model))
    )
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
