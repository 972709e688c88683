"""The network that finds speech, made from Silero VAD's: the same weights, computed in a third of the time.

ONNX Runtime computes a convolution of each chunk by itself, a matrix product with a few columns. Here the chunks of a
call are the rows of one product: `python -m training.voice.activity silero_vad_16k_sequence.onnx FOLDER`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from emostream.audio.activity import CHUNK_SAMPLES

_OPSET = 16
_PADDED_SAMPLES = 64  # at the end of a chunk, mirrored
_LAYERS = ((1, 4), (2, 4), (2, 2), (1, 1))  # steps and lengths in of the convolutions of the encoder; kernels are of 3

_Weights = dict[str, npt.NDArray[np.float32]]


def rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with matrix products in place of convolutions.

    Args:
        model: `silero_vad_16k_sequence.onnx` of silero-vad 6.2.

    Raises:
        KeyError: it is another network.
    """
    found = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    lstm = next(node for node in model.graph.node if node.op_type == "LSTM")
    graph = _Graph()
    magnitudes = _spectrum(graph, found["stft.forward_basis_buffer"])
    encoded = _encoder(graph, magnitudes, found)
    recurrent = [graph.constant(found[name]) for name in lstm.input[1:4]]
    graph.add("LSTM", [encoded, *recurrent, "", "h", "c"], ["heard", "hn", "cn"], hidden_size=128)
    graph.add("Relu", [graph.add("Reshape", ["heard", graph.constant([-1, 128])])], ["relu_heard"])
    weights = graph.constant(found["output.weight"].reshape(1, 128).T)
    graph.add("Add", [graph.add("MatMul", ["relu_heard", weights]), graph.constant(found["output.bias"])], ["logits"])
    graph.add("Reshape", [graph.add("Sigmoid", ["logits"]), graph.constant([-1])], ["speech_probs"])
    made = helper.make_model(
        helper.make_graph(
            graph.nodes, "silero-vad", list(model.graph.input), list(model.graph.output), initializer=graph.constants
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=model.ir_version,
    )
    onnx.checker.check_model(made)
    return made


def main() -> None:
    """Write the network and its manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="silero_vad_16k_sequence.onnx of silero-vad 6.2")
    parser.add_argument("folder", type=Path, help="that of voice-activity.json")
    arguments = parser.parse_args()
    content = rewritten(onnx.load(arguments.source)).SerializeToString()
    manifest_file = arguments.folder / "voice-activity.json"
    manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
    (arguments.folder / manifest["file"]).write_bytes(content)
    manifest["sha256"] = hashlib.sha256(content).hexdigest()
    manifest_file.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class _Graph:
    """Nodes and constants, named by number."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: npt.ArrayLike) -> str:
        array = np.asarray(value)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def add(self, kind: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> str:
        outputs = outputs or [f"{kind.lower()}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def cut(self, name: str, begin: int, end: int, *, axis: int, step: int = 1) -> str:
        return self.add("Slice", [name, *(self.constant([value]) for value in (begin, end, axis, step))])


def _spectrum(graph: _Graph, basis: npt.NDArray[np.float32]) -> str:
    """Magnitudes of a short-time Fourier transform, chunks×4×129."""
    num_rows, _, num_samples = basis.shape
    hop = num_samples // 2
    padded = graph.add("Pad", ["input", graph.constant([0, 0, 0, _PADDED_SAMPLES])], mode="reflect")
    # A frame is two halves that lie beside each other, so that the overlapping frames need no copy of their own.
    num_halves = (CHUNK_SAMPLES + 2 * _PADDED_SAMPLES) // hop
    halves = graph.add("Reshape", [padded, graph.constant([-1, num_halves, hop])])
    frames = graph.add(
        "Concat", [graph.cut(halves, 0, num_halves - 1, axis=1), graph.cut(halves, 1, num_halves, axis=1)], axis=2
    )
    parts = graph.add("MatMul", [frames, graph.constant(basis[:, 0].T)])
    squares = graph.add("Mul", [parts, parts])
    real, imaginary = (graph.cut(squares, at, at + num_rows // 2, axis=2) for at in (0, num_rows // 2))
    return graph.add("Sqrt", [graph.add("Add", [real, imaginary])])


def _encoder(graph: _Graph, magnitudes: str, found: _Weights) -> str:
    """Four convolutions over time, each with what lies before and after; chunks×1×128."""
    last = magnitudes
    for number, (step, length) in enumerate(_LAYERS):
        kernel, bias = found[f"encoder.{number}.weight"], found[f"encoder.{number}.bias"]
        num_out, num_in, width = kernel.shape
        if length == 1:  # all beside it is padding
            gathered, width, kernel = last, 1, kernel[:, :, 1:2]
        else:
            padded = graph.add("Pad", [last, graph.constant([0, 1, 0, 0, 1, 0])])
            gathered = graph.add(
                "Concat",
                [graph.cut(padded, tap, tap + length, axis=1, step=step) for tap in range(width)],
                axis=2,
            )
        weights = graph.constant(kernel.transpose(2, 1, 0).reshape(width * num_in, num_out))
        last = graph.add("Relu", [graph.add("Add", [graph.add("MatMul", [gathered, weights]), graph.constant(bias)])])
    return last


if __name__ == "__main__":
    main()
