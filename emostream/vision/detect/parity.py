"""Measures how much two computations of CenterFace's output maps differ, and holds the allowed differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emostream.errors import ManifestError

Maps = Sequence[npt.NDArray[np.float32]]
"""Heatmap, scale, offset and landmarks of one frame, each 1×channels×rows×columns."""

_CERTAIN = 0.3  # the detector's default min_score; box and landmarks of other cells have no meaning


@dataclass(frozen=True, slots=True)
class MapParity:
    """The differences between two computations of the maps.

    Attributes:
        max_heatmap_difference: largest over all cells, 0…1.
        max_geometry_difference: largest of size (log), offset (cells) and landmarks (boxes), over cells with a face.
        num_cells: cells with a face in the reference.
    """

    max_heatmap_difference: float
    max_geometry_difference: float
    num_cells: int


# On the reference frame FP16 was measured at 0.002 and 0.001 in ONNX Runtime (a GPU also adds in half precision), INT8
# at 0.085 and 0.035.
_ALLOWED = {"fp32": (0.005, 0.01), "fp16": (0.03, 0.05), "int8": (0.25, 0.15)}


def compare_maps(reference: Maps, other: Maps) -> MapParity:
    """Measure the differences between two computations for the same frame."""
    is_face = reference[0][0, 0] > _CERTAIN
    differences = [np.abs(before - after)[0] for before, after in zip(reference, other, strict=True)]
    geometry = [difference[:, is_face].max(initial=0.0) for difference in differences[1:]]
    return MapParity(float(differences[0].max()), float(max(geometry)), int(is_face.sum()))


def require_map_parity(parity: MapParity, *, precision: str, what: str) -> None:
    """Raise `ManifestError` when the differences are larger than this precision allows."""
    heatmap, geometry = _ALLOWED[precision]
    # Written so that a NaN fails.
    if not (parity.max_heatmap_difference <= heatmap and parity.max_geometry_difference <= geometry):
        raise ManifestError(
            f"{what} does not match its reference: expected differences ≤ {heatmap} (heatmap) and ≤ {geometry} "
            f"(boxes), got {parity.max_heatmap_difference:.4f} and {parity.max_geometry_difference:.4f}"
        )
