"""The vectorised decoding agrees with the formulas written out for one cell."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from emostream.vision.detect.centerface.detector import decode_centerface

ROWS, COLUMNS = 12, 20
LIMITS = {"min_score": 0.5, "max_iou": 0.3, "max_faces": 100}

Maps = dict[str, npt.NDArray[np.float32]]


def empty_maps() -> Maps:
    channels = {"heatmap": 1, "scale": 2, "offset": 2, "landmarks": 10}
    return {name: np.zeros((count, ROWS, COLUMNS), np.float32) for name, count in channels.items()}


def test_one_cell_by_the_formulas() -> None:
    maps = empty_maps()
    row, column = 5, 9
    maps["heatmap"][0, row, column] = 0.8
    maps["scale"][:, row, column] = math.log(6), math.log(4)  # height 24, width 16 pixels
    maps["offset"][:, row, column] = 0.25, -0.5
    maps["landmarks"][:, row, column] = [0.4, 0.3, 0.4, 0.7, 0.6, 0.5, 0.8, 0.35, 0.8, 0.65]
    found = decode_centerface(**maps, **LIMITS)  # type: ignore[arg-type]
    centre_x, centre_y = (column - 0.5 + 0.5) * 4, (row + 0.25 + 0.5) * 4
    np.testing.assert_allclose(found.boxes, [[centre_x - 8, centre_y - 12, centre_x + 8, centre_y + 12]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.8])
    x0, y0 = centre_x - 8, centre_y - 12
    expected = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    np.testing.assert_allclose(found.landmarks[0], [(x0 + 16 * x, y0 + 24 * y) for x, y in expected], rtol=1e-6)


def test_neighbouring_cells_of_one_face_become_one() -> None:
    maps = empty_maps()
    maps["heatmap"][0, 4:7, 8:11] = 0.6
    maps["heatmap"][0, 5, 9] = 0.9
    maps["scale"][:] = math.log(5)
    found = decode_centerface(**maps, **LIMITS)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.scores, [0.9])


def test_a_picture_full_of_faces_stays_within_the_limit() -> None:
    maps = empty_maps()
    maps["heatmap"][:] = np.random.default_rng(0).uniform(0.6, 1, maps["heatmap"].shape)
    found = decode_centerface(**maps, min_score=0.5, max_iou=0.3, max_faces=7)
    assert found.boxes.shape == (7, 4)
    assert found.landmarks.shape == (7, 5, 2)
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.filterwarnings("error")
def test_absurd_values_do_not_overflow() -> None:
    maps = empty_maps()
    maps["heatmap"][0, 0, 0] = 1
    maps["scale"][:] = 1000
    assert np.isfinite(decode_centerface(**maps, **LIMITS).boxes).all()  # type: ignore[arg-type]


def test_nothing_found() -> None:
    found = decode_centerface(**empty_maps(), **LIMITS)  # type: ignore[arg-type]
    assert found.boxes.shape == (0, 4)
    assert found.landmarks.shape == (0, 5, 2)
