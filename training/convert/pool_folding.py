"""Pools that cost more than the convolutions around them, on a CPU in INT8, are moved out of the way.

The mean of a k×k block, weighted, is the block weighted with 1/k² of each weight: an average pool before a 1×1
convolution is a k×k convolution with step k. The largest of several values may be taken before or after an activation
that never falls. What a graph computes stays the same.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


def fold_pools(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model in which no average pool stands alone before a 1×1 convolution, where that can be."""
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    num_readers = Counter(name for node in graph.node for name in node.input)
    num_readers.update(output.name for output in graph.output)
    pools = {node.output[0]: node for node in graph.node if _is_plain_pool(node)}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for conv in [node for node in graph.node if _is_pointwise(node, weights)]:
        pool = pools.get(conv.input[0])
        if pool is None or num_readers[pool.output[0]] != 1 or num_readers[conv.input[1]] != 1:
            continue
        side = _attribute(pool, "kernel_shape", [])[0]
        tensor = weights[conv.input[1]]
        spread = np.repeat(np.repeat(numpy_helper.to_array(tensor), side, axis=2), side, axis=3) / side**2
        tensor.CopyFrom(numpy_helper.from_array(spread.astype(np.float32), tensor.name))
        conv.input[0] = pool.input[0]
        kept = [given for given in conv.attribute if given.name not in ("kernel_shape", "strides")]
        del conv.attribute[:]
        conv.attribute.extend(kept)
        conv.attribute.append(helper.make_attribute("kernel_shape", [side, side]))
        conv.attribute.append(helper.make_attribute("strides", [side, side]))
        graph.node.remove(pool)
    return folded


def pool_before_first_activation(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which a max pool on the activation of the first convolution comes before that activation.

    The first convolution stays FP32. ONNX Runtime moves quantisation before a max pool behind it, and then looks for
    the largest of bytes that lie channel by channel, which is slow (half of the time of a VGG); it moves nothing
    before an activation.
    """
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    nodes = moved.graph.node
    conv = next((node for node in nodes if node.op_type == "Conv"), None)
    activation = _only_reader(moved.graph, conv)
    pool = _only_reader(moved.graph, activation)
    if activation is None or pool is None or activation.op_type not in ("Relu", "Clip") or pool.op_type != "MaxPool":
        return moved
    first, last = activation.input[0], pool.output[0]
    pooled = onnx.NodeProto(name=pool.name, op_type=pool.op_type, input=[first], output=[pool.input[0]])
    pooled.attribute.extend(pool.attribute)
    pool.CopyFrom(activation)  # each takes the other's place in the order
    pool.input[0], pool.output[0] = pooled.output[0], last
    activation.CopyFrom(pooled)
    return moved


def _only_reader(graph: onnx.GraphProto, node: onnx.NodeProto | None) -> onnx.NodeProto | None:
    """The one node that reads what this one writes; None where there are more, or the graph hands it out, too."""
    if node is None or any(output.name in node.output for output in graph.output):
        return None
    readers = [later for later in graph.node if node.output[0] in later.input]
    return readers[0] if len(readers) == 1 else None


def _is_plain_pool(node: onnx.NodeProto) -> bool:
    """A square average without overlap, padding or rounding up."""
    if node.op_type != "AveragePool":
        return False
    kernel = _attribute(node, "kernel_shape", [])
    return (
        len(kernel) == 2
        and kernel[0] == kernel[1]
        and _attribute(node, "strides", []) == kernel
        and not any(_attribute(node, "pads", []))
        and not _attribute(node, "ceil_mode", 0)
        and _attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"
    )


def _is_pointwise(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    return (
        node.op_type == "Conv"
        and node.input[1] in weights
        and list(weights[node.input[1]].dims[2:]) == [1, 1]
        and _attribute(node, "strides", [1, 1]) == [1, 1]
        and not any(_attribute(node, "pads", []))
    )


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    given = next((attribute for attribute in node.attribute if attribute.name == name), None)
    if given is None:
        return default
    value = helper.get_attribute_value(given)
    return list(value) if isinstance(default, list) else value
