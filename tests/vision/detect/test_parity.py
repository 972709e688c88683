"""Maps of two detectors are compared where faces are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from emostream.errors import ManifestError
from emostream.vision.detect.parity import MapParity, compare_maps, require_map_parity


def maps(*, heat: float = 0.9, box: float = 0.5) -> list[npt.NDArray[np.float32]]:
    cells = [np.zeros((1, channels, 4, 6), np.float32) for channels in (1, 2, 2, 10)]
    cells[0][0, 0, 1, 2] = heat
    for geometry in cells[1:]:
        geometry[0, :, 1, 2] = box
        geometry[0, :, 3, 3] = 100 * box  # no face there, so it means nothing
    return cells


def test_maps_are_compared_where_faces_are() -> None:
    parity = compare_maps(maps(), maps(heat=0.88, box=0.52))
    assert parity == MapParity(pytest.approx(0.02), pytest.approx(0.02), 1)  # type: ignore[arg-type]
    require_map_parity(parity, precision="fp16", what="the engine")
    for wrong in (maps(heat=0.8), maps(box=0.6), maps(heat=float("nan"))):
        with pytest.raises(ManifestError):
            require_map_parity(compare_maps(maps(), wrong), precision="fp16", what="the engine")
