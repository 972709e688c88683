"""The variants a trained model is written in: which precision, for which engine, in which file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx

from emostream.errors import ManifestError
from emostream.vision.engines.half_precision import half_from_full, store_weights_in_half
from training.convert.activation_ranges import RangePolicy, largest_half_value
from training.convert.quantize import QuantizedLayout, int8_from_onnx

VariantName = Literal["int8", "fp32", "fp16", "int8-tensorrt"]

# A quarter of the range of half precision: pictures that were not tried may reach further than those that were.
_MAX_HALF_VALUE = 65504 / 4


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the forms.

    Attributes:
        name: as on the command line.
        precision: of its arithmetic, as in the manifest.
        layout: of INT8, as in the manifest.
        suffix: of the file's name; the variant that is used by default has none.
    """

    name: VariantName
    precision: Literal["fp32", "fp16", "int8"]
    layout: QuantizedLayout = "cpu"
    suffix: str = ""

    def file_name(self, base: str) -> str:
        """`emotions` → `emotions-fp32.onnx`."""
        return f"{base}{self.suffix}.onnx"


VARIANTS: dict[VariantName, Variant] = {
    "int8": Variant("int8", "int8"),
    "fp32": Variant("fp32", "fp32", suffix="-fp32"),
    "fp16": Variant("fp16", "fp16", suffix="-fp16"),
    "int8-tensorrt": Variant("int8-tensorrt", "int8", layout="tensorrt", suffix="-int8-tensorrt"),
}
"""In the order in which they are written."""


@dataclass(frozen=True, slots=True, eq=False)
class WrittenVariant:
    """A model in one variant, and what was measured while it was made."""

    graph: onnx.ModelProto
    figures: dict[str, float]


def write_variant(
    graph: onnx.ModelProto, variant: Variant, crops: npt.NDArray[np.uint8], *, policy: RangePolicy = "mean"
) -> WrittenVariant:
    """An FP32 graph → one of its variants.

    Args:
        graph: as `onnx_graph` makes it.
        variant: which one.
        crops: uint8 n×s×s training crops, on which ranges are measured.
        policy: how INT8 ranges follow from what was measured.

    Raises:
        ManifestError: the net cannot be computed in this precision.
    """
    if variant.precision == "fp32":
        return WrittenVariant(store_weights_in_half(graph), {})
    if variant.precision == "int8":
        return WrittenVariant(int8_from_onnx(graph, crops, layout=variant.layout, policy=policy), {})
    half = half_from_full(graph)
    largest = largest_half_value(half, crops)
    if not largest <= _MAX_HALF_VALUE:
        raise ManifestError(
            f"the net reaches {largest:.3g} between its layers, too near the end of half precision (65504): expected "
            f"at most {_MAX_HALF_VALUE:.0f}; train it with more weight decay, or leave FP16 out"
        )
    return WrittenVariant(half, {"largest_half_value": largest})
