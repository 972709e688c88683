"""The scalings of the heads in an ONNX model that `training.convert.onnx_graph` made, removed and replaced.

Between the last layer of a head and its softmax there is nothing but `logits / temperature − (−shifts)`, so another
scaling needs no trained net: two constants are replaced, in whatever form the rest of the model is.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from emostream.errors import ManifestError
from training.convert.onnx_graph import OUTPUT_NAMES
from training.measure.scalings import HeadScalings
from training.measure.temperature import Scaling

_SCALING_OPERATORS = ("Div", "Mul", "Sub", "Add")


def with_scalings(model: onnx.ModelProto, scalings: HeadScalings) -> onnx.ModelProto:
    """A copy of a model of two heads that scales its logits so; weights and all else stay as they are.

    Raises:
        ManifestError: an output is no softmax of scaled logits.
    """
    scaled = onnx.ModelProto()
    scaled.CopyFrom(model)
    for output, scaling in zip(OUTPUT_NAMES, (scalings.ferplus, scalings.fer2013), strict=True):
        _replace_scaling(scaled.graph, output, scaling)
    onnx.checker.check_model(scaled)
    return scaled


def _replace_scaling(graph: onnx.GraphProto, output: str, scaling: Scaling) -> None:
    writers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {name for name, node in writers.items() if node.op_type == "Constant"}
    softmax = writers.get(output)
    if softmax is None or softmax.op_type != "Softmax":
        what = "no such output" if softmax is None else f"{softmax.op_type}"
        raise ManifestError(f"expected the output {output} to be a Softmax as training.export writes it, got {what}")
    logits = softmax.input[0]
    while (node := writers.get(logits)) is not None and node.op_type in _SCALING_OPERATORS:
        if node.input[1] not in constants:
            break
        logits = node.input[0]
        graph.node.remove(node)
    softmax.input[0] = logits
    _drop_unread_constants(graph)  # before others come that may have their names
    added = _scaling_nodes(logits, output, scaling)
    softmax.input[0] = added[-1].output[0]
    place = next(k for k, node in enumerate(graph.node) if output in node.output)
    for node in reversed(added):
        graph.node.insert(place, node)


def _scaling_nodes(logits: str, output: str, scaling: Scaling) -> list[onnx.NodeProto]:
    """The same operators as `ServedModel` has."""
    steps = [("Div", "temperature", np.array(scaling.temperature, dtype=np.float32))]
    if scaling.shifts:
        steps.append(("Sub", "shifts", -np.array(scaling.shifts, dtype=np.float32)))
    nodes = []
    for operator, name, values in steps:
        constant, result = f"{output}/{name}", f"{output}/{operator}"
        value = numpy_helper.from_array(values, constant)
        nodes.append(helper.make_node("Constant", [], [constant], name=constant, value=value))
        nodes.append(helper.make_node(operator, [logits, constant], [result], name=result))
        logits = result
    return nodes


def _drop_unread_constants(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in read]:
        graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
