"""Converts the published CenterFace file to INT8, for processors with VNNI instructions.

Weights are quantised per filter. The ranges of the activations were measured once on real pictures and ship with the
package, so that preparing the model needs no pictures. The first and last layers stay FP32: they cause most of the
error, and with few channels INT8 is not even faster.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from emostream.errors import ManifestError
from emostream.vision.detect.centerface.model import prepare_centerface

Ranges = Mapping[str, tuple[float, float]]
"""Tensor name → smallest and largest value measured."""

_WITHOUT_ARITHMETIC = frozenset({"Cast", "Unsqueeze"})

# 3×3 on one channel, 3×3 on each of 32, 1×1 to 16: the landmarks' error against FP32 falls by a third, and a search
# takes 3 % less time (docs/performance.md).
_NUM_EXACT_FIRST = 3

# Written by: python -m training.detector_ranges --videos ../shared/data/videos --pictures ../shared/data/faces
_RANGES_FILE = "ranges.json"


def prepare_centerface_int8(model_bytes: bytes) -> bytes:
    """Convert the published CenterFace ONNX file to the prepared form (`prepare_centerface`) with INT8 arithmetic.

    Raises:
        ManifestError: the bytes are not the published CenterFace model.
    """
    ranges = json.loads(files("emostream.vision.detect.centerface").joinpath(_RANGES_FILE).read_text(encoding="utf-8"))
    return quantized(
        fused(prepare_centerface(model_bytes)), ranges={name: tuple(pair) for name, pair in ranges.items()}
    )


def fused(model_bytes: bytes) -> Any:
    """The model with batch normalisation folded into the preceding convolutions, and with named nodes."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="emostream-") as folder:
        options.optimized_model_filepath = str(Path(folder) / "fused.onnx")
        onnxruntime.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"  # the quantiser identifies nodes by name
    return model


def quantized(model: Any, *, ranges: Ranges) -> bytes:
    """The fused model with Q/DQ nodes around its operators: unsigned activations, signed weights per filter.

    Raises:
        ManifestError: a tensor has no range, so the ranges are those of another model.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    limits = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    first, last = _exact_nodes(model)
    outputs = {
        name
        for node in model.graph.node
        for name in node.output
        if node.name not in last and node.op_type not in _WITHOUT_ARITHMETIC
    }
    if missing := sorted(outputs - set(limits)):
        raise ManifestError(
            f"the ranges of the INT8 detector are those of another model: none for {', '.join(missing[:3])}; install "
            "emostream again, or set detect.precision to fp32"
        )
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
        nodes_to_quantize=[],
        nodes_to_exclude=[*first, *last],
        op_types_to_quantize=["Conv", "ConvTranspose", "Add", "Relu", "Sigmoid"],
        extra_options={},
    )
    quantizer.quantize_model()
    return bytes(quantizer.model.model.SerializeToString(deterministic=True))


def _exact_nodes(model: Any) -> tuple[list[str], list[str]]:
    """Names of the FP32 nodes: the first convolutions with the nodes between them, and the last with all after it."""
    nodes = list(model.graph.node)
    convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    first = nodes[convolutions[0] : convolutions[_NUM_EXACT_FIRST - 1] + 1]
    return [node.name for node in first], [node.name for node in nodes[convolutions[-1] :]]
