"""Measures the ranges of a model's activations on real crops, which 8 bits are then spread over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

Ranges = dict[str, tuple[float, float]]
"""Tensor name → lower and upper end of what 8 bits should hold."""

RangePolicy = Literal["mean", "extremes", "percentile"]
"""`mean`: of the extremes of each batch; `extremes`: of all crops; `percentile`: like `mean`, but without one value in
100,000 of a batch at either end."""

_BATCH_SIZE = 32
_PERCENTILE = 0.001


def measure_ranges(model: onnx.ModelProto, crops: npt.NDArray[np.uint8], *, policy: RangePolicy = "mean") -> Ranges:
    """The range of every float tensor that a node computes, over uint8 crops n×s×s."""
    lows: dict[str, list[float]] = {}
    highs: dict[str, list[float]] = {}
    for tensors in _computed_tensors(model, crops):
        for name, values in tensors.items():
            low, high = _range_of(values, policy)
            lows.setdefault(name, []).append(low)
            highs.setdefault(name, []).append(high)
    if policy == "extremes":
        return {name: (min(lows[name]), max(highs[name])) for name in lows}
    return {name: (float(np.mean(lows[name])), float(np.mean(highs[name]))) for name in lows}


def largest_half_value(model: onnx.ModelProto, crops: npt.NDArray[np.uint8]) -> float:
    """The largest magnitude among all tensors that a model computes in half precision; infinite when one overflowed."""
    largest = 0.0
    for tensors in _computed_tensors(model, crops, element_type=onnx.TensorProto.FLOAT16):
        for values in tensors.values():
            largest = max(largest, float(np.abs(values.astype(np.float32)).max()))
    return largest


def _range_of(values: npt.NDArray[Any], policy: RangePolicy) -> tuple[float, float]:
    if policy == "percentile":
        low, high = np.percentile(values, [_PERCENTILE, 100 - _PERCENTILE])
        return float(low), float(high)
    return float(values.min()), float(values.max())


def _computed_tensors(
    model: onnx.ModelProto, crops: npt.NDArray[np.uint8], *, element_type: int = onnx.TensorProto.FLOAT
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """For each batch: name → values of every tensor of this type that a node computes."""
    watched = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    outputs = {value.name for value in watched.graph.output}
    computed = {name for node in watched.graph.node for name in node.output} - outputs
    watched.graph.output.extend(value for value in watched.graph.value_info if value.name in computed)
    names = [value.name for value in watched.graph.output if value.type.tensor_type.elem_type == element_type]
    options = onnxruntime.SessionOptions()
    # Optimised graphs fuse nodes, and the tensors between them would have no values.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    for start in range(0, len(crops), _BATCH_SIZE):
        values = session.run(names, {input_name: crops[start : start + _BATCH_SIZE]})
        yield dict(zip(names, values, strict=True))
