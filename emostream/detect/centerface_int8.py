"""Pure: the CenterFace file as published → INT8, for processors with VNNI instructions.

Weights are quantised per filter. The ranges of the activations were measured on real pictures, once, and ship with the
package, so that no picture is needed where the model is prepared.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from emostream.detect.centerface_model import prepare_centerface
from emostream.errors import ManifestError

Ranges = Mapping[str, tuple[float, float]]
"""Tensor name → smallest and largest value seen."""

# Made by: python -m training.detector_ranges --videos ../shared/data/videos --pictures ../shared/data/faces
_RANGES_FILE = "centerface_ranges.json"


def prepare_centerface_int8(model_bytes: bytes) -> bytes:
    """The published CenterFace ONNX file → the prepared form (`prepare_centerface`) with INT8 arithmetic.

    Raises:
        ManifestError: the bytes are not the published CenterFace model.
    """
    ranges = json.loads(files("emostream.detect").joinpath(_RANGES_FILE).read_text(encoding="utf-8"))
    return quantized(
        fused(prepare_centerface(model_bytes)), ranges={name: tuple(pair) for name, pair in ranges.items()}
    )


def fused(model_bytes: bytes) -> Any:
    """A model with batch normalisation folded into the convolutions before it, and with named nodes."""
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
        node.name = f"{node.op_type}_{index}"  # the quantiser tells nodes apart by name
    return model


def quantized(model: Any, *, ranges: Ranges) -> bytes:
    """A fused model with Q/DQ nodes around its operators: unsigned activations, signed weights per filter.

    Raises:
        ManifestError: a tensor has no range, so the ranges belong to another model.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    limits = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    outputs = {name for node in model.graph.node for name in node.output if node.op_type not in _KEPT_EXACT}
    if missing := sorted(outputs - set(limits)):
        raise ManifestError(
            f"the ranges of the INT8 detector belong to another model: none for {', '.join(missing[:3])}; install "
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
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv", "ConvTranspose", "Add", "Relu", "Sigmoid"],
        extra_options={},
    )
    quantizer.quantize_model()
    return bytes(quantizer.model.model.SerializeToString(deterministic=True))


_KEPT_EXACT = frozenset({"Cast", "Unsqueeze"})
