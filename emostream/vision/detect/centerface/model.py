"""Converts the published CenterFace file to the form that this package runs.

The published file takes ten 32×32 RGB pictures as floats. The prepared one takes any number of gray uint8 pictures of
any size. Gray repeated over three channels gives each filter of the first layer the sum of its three channels, so these
weights are summed here once, and the input is a third of the size. The last four convolutions read the same tensor, so
they are merged into one. The network's results do not change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError as ProtobufDecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper, version_converter

from emostream.errors import ManifestError
from emostream.vision.detect.centerface.detector import INPUT_NAME, OUTPUT_CHANNELS

HEAD_NODE = "heads"
"""Name of the last convolution, which computes all outputs, and of its output."""

_OPSET = 13  # the first with per-channel quantisation, which the INT8 variant needs
_IR_VERSION = 8  # belongs to opset 13–15; every supported runtime reads it
_PUBLISHED_OUTPUTS = dict(zip(("537", "538", "539", "540"), OUTPUT_CHANNELS, strict=True))


def prepare_centerface(model_bytes: bytes) -> bytes:
    """Convert the published CenterFace ONNX file: dynamic shape, gray uint8 input, named outputs, opset 13.

    Deterministic: the same bytes give the same result, so that it can be identified by its hash.

    Raises:
        ManifestError: the bytes are not the published CenterFace model.
    """
    model = _load_published(model_bytes)
    # Old exporters list weights as inputs too; a runtime can treat them as constants only when they are not inputs.
    weight_names = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weight_names]
    if len(inputs) != 1 or [value.name for value in model.graph.output] != list(_PUBLISHED_OUTPUTS):
        raise _foreign("its inputs and outputs have other names")
    picture_name = inputs[0].name
    first_layer = next((node for node in model.graph.node if picture_name in node.input), None)
    if first_layer is None or first_layer.op_type != "Conv":
        raise _foreign("it does not start with a convolution")

    _sum_colour_weights(model, first_layer.input[1])
    nodes = [_rename_outputs(node) for node in model.graph.node]
    nodes = _with_one_head(model, nodes)
    to_float = [
        helper.make_node("Unsqueeze", [INPUT_NAME], ["luma_nchw"], axes=[1]),
        helper.make_node("Cast", ["luma_nchw"], [picture_name], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes=[*to_float, *nodes],
        name="centerface",
        inputs=[helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", "height", "width"])],
        outputs=[
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, "rows", "columns"])
            for name, channels in OUTPUT_CHANNELS.items()
        ],
        initializer=list(model.graph.initializer),
    )
    prepared = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=_IR_VERSION)
    prepared = version_converter.convert_version(prepared, _OPSET)
    prepared.producer_name = "emostream"
    onnx.checker.check_model(prepared)
    return bytes(prepared.SerializeToString(deterministic=True))


def _load_published(model_bytes: bytes) -> Any:
    try:
        model = onnx.load_model_from_string(model_bytes)
        onnx.checker.check_model(model)
    except (ProtobufDecodeError, onnx.checker.ValidationError) as exc:
        raise _foreign("it is not a valid ONNX file") from exc
    return model


def _foreign(reason: str) -> ManifestError:
    return ManifestError(f"expected the published CenterFace model, but {reason}; pull the detector again")


def _sum_colour_weights(model: Any, weights_name: str) -> None:
    tensor = next((tensor for tensor in model.graph.initializer if tensor.name == weights_name), None)
    weights = np.empty(0) if tensor is None else numpy_helper.to_array(tensor)
    if tensor is None or weights.ndim != 4 or weights.shape[1] != 3:
        raise _foreign(f"its first layer has weights of shape {weights.shape}, not n×3×3×3")
    tensor.CopyFrom(numpy_helper.from_array(weights.sum(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)))
    tensor.name = weights_name


def _with_one_head(model: Any, nodes: list[Any]) -> list[Any]:
    """Replace the four convolutions of the outputs by one with a split; adds its weights to the model."""
    makers = {name: node for node in nodes for name in node.output}
    sigmoid = makers["heatmap"]
    outputs = [sigmoid.input[0], *list(OUTPUT_CHANNELS)[1:]]
    heads = [makers.get(name, sigmoid) for name in outputs]
    if sigmoid.op_type != "Sigmoid" or any(head.op_type != "Conv" or len(head.input) != 3 for head in heads):
        raise _foreign("its outputs are not those of convolutions and a sigmoid")
    features, *others = {head.input[0] for head in heads}
    if others:
        raise _foreign("its last convolutions read different tensors")
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for position, name in ((1, HEAD_NODE + ".weight"), (2, HEAD_NODE + ".bias")):
        parts = [numpy_helper.to_array(tensors[head.input[position]]) for head in heads]
        model.graph.initializer.append(numpy_helper.from_array(np.concatenate(parts), name))
    one = helper.make_node(
        "Conv", [features, HEAD_NODE + ".weight", HEAD_NODE + ".bias"], [HEAD_NODE], name=HEAD_NODE, kernel_shape=[1, 1]
    )
    split = helper.make_node("Split", [HEAD_NODE], outputs, axis=1, split=list(OUTPUT_CHANNELS.values()))
    rest = [node for node in nodes if node is not sigmoid and all(node is not head for head in heads)]
    return [*rest, one, split, sigmoid]


def _rename_outputs(node: Any) -> Any:
    for index, name in enumerate(node.output):
        node.output[index] = _PUBLISHED_OUTPUTS.get(name, name)
    return node
