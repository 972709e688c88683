"""Two networks with known answers, in the form of CenterFace and of YuNet: a face stands wherever a cell is white."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FACE_SIDE_PIXELS = 32.0
"""Side of every face these networks find."""

LANDMARKS_IN_BOX = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
"""(x, y) of the landmarks in units of the box's sides."""


class _GraphWriter:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, values: Any, *, dtype: Any = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def filled_like(self, source: str, values: list[float], output: str) -> str:
        """A map as large as `source` (1 channel), each channel one value: a 1×1 convolution with weights 0."""
        weights = self.constant(f"{output}_w", np.zeros((len(values), 1, 1, 1)))
        return self.add("Conv", [source, weights, self.constant(f"{output}_b", values)], output, kernel_shape=[1, 1])

    def model(self, *, inputs: list[Any], outputs: list[Any]) -> bytes:
        graph = helper.make_graph(self.nodes, "tiny", inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def tiny_centerface() -> bytes:
    """The prepared form of CenterFace: uint8 luma n×H×W in, four maps out."""
    graph = _GraphWriter()
    graph.add("Unsqueeze", ["luma", graph.constant("axis", [1], dtype=np.int64)], "nchw")
    graph.add("Cast", ["nchw"], "float", to=TensorProto.FLOAT)
    graph.add("AveragePool", ["float"], "pooled", kernel_shape=[4, 4], strides=[4, 4])
    graph.add("Div", ["pooled", graph.constant("white", 255.0)], "heatmap")
    log_cells = math.log(FACE_SIDE_PIXELS / 4)
    graph.filled_like("heatmap", [log_cells, log_cells], "scale")
    graph.filled_like("heatmap", [0.0, 0.0], "offset")
    graph.filled_like("heatmap", [value for x, y in LANDMARKS_IN_BOX for value in (y, x)], "landmarks")
    shapes = {"heatmap": 1, "scale": 2, "offset": 2, "landmarks": 10}
    return graph.model(
        inputs=[helper.make_tensor_value_info("luma", TensorProto.UINT8, ["batch", "height", "width"])],
        outputs=[
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, "rows", "columns"])
            for name, channels in shapes.items()
        ],
    )


def tiny_yunet(*, size: tuple[int, int] | None = None, is_bound: bool = False) -> bytes:
    """The form of YuNet: float picture 1×3×H×W in, twelve outputs; only the grid of 8 pixels ever finds a face.

    Args:
        size: width and height where they are declared fixed, as in the published files; None leaves them free.
        is_bound: the graph itself contains the fixed size, so that declaring another does not work.
    """
    graph = _GraphWriter()
    first_channel = {"starts": [0], "ends": [1], "axes": [1]}
    slices = [graph.constant(name, value, dtype=np.int64) for name, value in first_channel.items()]
    graph.add("Slice", ["input", *slices], "gray")
    outputs = []
    for stride in (8, 16, 32):
        graph.add("AveragePool", ["gray"], f"pooled_{stride}", kernel_shape=[stride] * 2, strides=[stride] * 2)
        white = graph.constant(f"white_{stride}", 255.0)
        score = graph.add("Div", [f"pooled_{stride}", white], f"score_{stride}")
        centre, log_cells = 0.5, math.log(FACE_SIDE_PIXELS / stride)
        points = [centre + (value - 0.5) * FACE_SIDE_PIXELS / stride for xy in LANDMARKS_IN_BOX for value in xy]
        maps = {
            "cls": score,
            "obj": graph.filled_like(score, [1.0 if stride == 8 else 0.0], f"obj_map_{stride}"),
            "bbox": graph.filled_like(score, [centre, centre, log_cells, log_cells], f"bbox_map_{stride}"),
            "kps": graph.filled_like(score, points, f"kps_map_{stride}"),
        }
        for (part, source), channels in zip(maps.items(), (1, 1, 4, 10), strict=True):
            name = f"{part}_{stride}"
            graph.add("Transpose", [source], f"{name}_nhwc", perm=[0, 2, 3, 1])
            cells: int | str = f"cells_{stride}" if size is None else (size[0] // stride) * (size[1] // stride)
            shape = graph.constant(f"{name}_shape", [1, cells if is_bound else -1, channels], dtype=np.int64)
            graph.add("Reshape", [f"{name}_nhwc", shape], name)
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, cells, channels]))
    height: int | str = "height" if size is None else size[1]
    width: int | str = "width" if size is None else size[0]
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, height, width])
    return graph.model(inputs=[picture], outputs=outputs)
