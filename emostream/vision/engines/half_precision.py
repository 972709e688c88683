"""Converts FP32 ONNX models to half precision, and stores weights in half precision.

TensorRT 11 takes the precision of each layer from the model, so an FP16 engine needs an FP16 model.

Not `onnxconverter-common` (1.16 was tried): it casts around every single node that stays FP32, so the standardisation
passes through FP16 (21 casts in the packaged model, 4 here), and a constant that both precisions use breaks its model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from emostream.errors import ManifestError

# The operators with weights. Half precision pays off between the first and the last of them.
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# operator → inputs that are FP32 in every precision
_ALWAYS_FLOAT = {"Resize": (1, 2), "Upsample": (1,)}
_QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear"})
# Smaller tensors (biases) are not worth a cast.
_MIN_STORED_IN_HALF = 512
_MAX_HALF = float(np.finfo(np.float16).max)
_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def half_from_full(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in half precision from its first to its last layer with weights.

    The parts before them (standardising a crop sums squares up to 65,025; half precision ends at 65,504) and after them
    (temperature, softmax) stay FP32, and so do inputs and outputs.

    Raises:
        ManifestError: the model is quantised, has sub-graphs, or has weights beyond the range of half precision.
    """
    full = full_from_stored(model)
    graph = full.graph
    if found := _QUANTIZED & {node.op_type for node in graph.node}:
        raise ManifestError(f"expected an FP32 model, got a quantised one (it has {', '.join(sorted(found))})")
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        raise ManifestError("expected a model without branches and loops, which cannot be converted to FP16")
    builder = _HalfGraph(graph, float_tensors=_float_tensors(full), halved=_between_weights(graph.node))
    nodes = builder.converted()
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    _drop_unused_initializers(graph)
    onnx.checker.check_model(full, full_check=True)
    return full


def store_weights_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large weights are stored as float16 and cast back when the file is loaded.

    It halves the file. Engines fold the casts when they load it, so arithmetic and speed are those of float32.
    """
    result = _copy(model)
    casts = []
    for tensor in result.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MIN_STORED_IN_HALF or np.abs(values).max() > _MAX_HALF:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(_cast(tensor.name, name, to=_FLOAT))
    _replace_nodes(result.graph, [*casts, *result.graph.node])
    onnx.checker.check_model(result, full_check=True)
    return result


def full_from_stored(model: onnx.ModelProto) -> onnx.ModelProto:
    """The inverse of `store_weights_in_half`: a copy with float32 weights."""
    result = _copy(model)
    stored = {tensor.name: tensor for tensor in result.graph.initializer if tensor.data_type == _HALF}
    kept = []
    for node in result.graph.node:
        if node.op_type == "Cast" and node.input[0] in stored and node.attribute[0].i == _FLOAT:
            values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
            stored[node.input[0]].CopyFrom(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    _replace_nodes(result.graph, kept)
    return result


class _HalfGraph:
    """Rewrites nodes in the graph's order and inserts casts where the precision changes.

    A tensor keeps its name in FP32 and has another one in half precision, so only nodes computed in half change.
    """

    def __init__(self, graph: Any, *, float_tensors: set[str], halved: set[int]) -> None:
        self._graph = graph
        self._float_tensors = float_tensors
        self._halved = halved
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._in_half: set[str] = set()  # tensors that exist in half precision
        self._only_in_half: set[str] = set()  # those that do not exist in FP32 yet
        self._nodes: list[Any] = []

    def converted(self) -> list[Any]:
        for index, node in enumerate(self._graph.node):
            if index in self._halved and self._computes_floats(node):
                self._add_half(node)
            else:
                for name in node.input:
                    self._need_full(name)
                self._nodes.append(node)
        for value in self._graph.output:
            self._need_full(value.name)
        return self._nodes

    def _computes_floats(self, node: Any) -> bool:
        return node.op_type == "Cast" or not self._float_tensors.isdisjoint(node.input)

    def _add_half(self, node: Any) -> None:
        always_float = _ALWAYS_FLOAT.get(node.op_type, ())
        for place, name in enumerate(node.input):
            if place in always_float:
                self._need_full(name)
            elif name in self._float_tensors:
                self._need_half(name)
                node.input[place] = _half_name(name)
        if node.op_type == "Cast" and node.attribute[0].i == _FLOAT:
            node.attribute[0].i = _HALF
        for place, name in enumerate(node.output):
            if name in self._float_tensors:
                node.output[place] = _half_name(name)
                self._in_half.add(name)
                self._only_in_half.add(name)
        self._nodes.append(node)

    def _need_half(self, name: str) -> None:
        if name in self._in_half:
            return
        self._in_half.add(name)
        if name in self._initializers:
            self._graph.initializer.append(_half_initializer(self._initializers[name]))
        else:
            self._nodes.append(_cast(name, _half_name(name), to=_HALF))

    def _need_full(self, name: str) -> None:
        if name in self._only_in_half:
            self._only_in_half.remove(name)
            self._nodes.append(_cast(_half_name(name), name, to=_FLOAT))


def _half_name(name: str) -> str:
    return f"{name}_half"


def _cast(source: str, target: str, *, to: int) -> Any:
    return helper.make_node("Cast", [source], [target], to=to, name=f"{target}_cast")


def _half_initializer(tensor: Any) -> Any:
    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= _MAX_HALF:
        raise ManifestError(
            f"weights {tensor.name} reach {largest:.3g}, beyond the range of FP16 ({_MAX_HALF:.0f}); keep FP32"
        )
    return numpy_helper.from_array(values.astype(np.float16), _half_name(tensor.name))


def _between_weights(nodes: Iterable[Any]) -> set[int]:
    """Indices of the nodes with a weighted layer at or before them, and one at or after them."""
    ordered = list(nodes)
    after = _reached(ordered, forwards=True)
    return after & _reached(ordered, forwards=False)


def _reached(nodes: list[Any], *, forwards: bool) -> set[int]:
    """Indices of the nodes on paths from (forwards) or to weighted layers, including these."""
    tensors: set[str] = set()
    found: set[int] = set()
    for index in range(len(nodes)) if forwards else reversed(range(len(nodes))):
        node = nodes[index]
        seen, given = (node.input, node.output) if forwards else (node.output, node.input)
        if node.op_type in _WEIGHTED or not tensors.isdisjoint(seen):
            found.add(index)
            tensors.update(name for name in given if name)
    return found


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    names = {value.name for value in values if value.type.tensor_type.elem_type == _FLOAT}
    return names | {tensor.name for tensor in graph.initializer if tensor.data_type == _FLOAT}


def _drop_unused_initializers(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _replace_nodes(graph: Any, nodes: list[Any]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result
