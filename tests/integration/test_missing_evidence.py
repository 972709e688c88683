"""No emotion is named where the mouth or the eyes are not seen: a laughing portrait, covered and cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from emostream import Analyzer
from tests.integration.command_line import run_emostream

pytestmark = pytest.mark.integration

Picture = npt.NDArray[np.uint8]
MASKS = {"blue": (200, 160, 110), "black": (20, 20, 20), "white": (235, 235, 235), "red": (40, 40, 190)}


@pytest.fixture(scope="module")
def rgb(portrait: Path) -> Picture:
    bgr = cv2.imread(str(portrait))
    assert bgr is not None
    return np.ascontiguousarray(bgr[:, :, ::-1]).astype(np.uint8)


@pytest.fixture(scope="module")
def landmarks(rgb: Picture) -> npt.NDArray[np.float64]:
    with Analyzer() as analyzer:
        (face,) = analyzer.classify(rgb)
    assert (face.dominant, face.quality) == ("happy", ())
    return np.array(face.landmarks)


def masked(rgb: Picture, landmarks: npt.NDArray[np.float64], colour: tuple[int, int, int]) -> Picture:
    """A mask from the nose down."""
    left, right, nose = landmarks[:3]
    width = right[0] - left[0]
    x, y = nose
    corners = [(-0.9, -0.1), (0, -0.25), (0.9, -0.1), (0.8, 0.7), (0, 1.2), (-0.8, 0.7)]
    points = np.array([(x + across * width, y + down * width) for across, down in corners])
    picture = np.ascontiguousarray(rgb.copy())
    cv2.fillPoly(picture, [np.round(points).astype(np.int32)], colour)
    return picture


def test_a_masked_or_cut_face_is_unknown(rgb: Picture, landmarks: npt.NDArray[np.float64]) -> None:
    left, right, nose = landmarks[:3]
    eyes, below_nose = (left + right) / 2, round(nose[1] + 0.1 * (right[0] - left[0]))
    pictures = {name: masked(rgb, landmarks, colour) for name, colour in MASKS.items()}
    pictures["ends below the nose"] = np.ascontiguousarray(rgb[:below_nose])
    pictures["begins below the eyes"] = np.ascontiguousarray(rgb[round(eyes[1]) + 12 :])
    with Analyzer() as analyzer:
        for name, picture in pictures.items():
            for face in analyzer.classify(picture):
                assert (face.dominant, face.confidence) == ("unknown", 0), name
                assert {"cut", "occluded"} & set(face.quality), name


def test_explain_says_what_is_missing(
    rgb: Picture, landmarks: npt.NDArray[np.float64], portrait: Path, tmp_path: Path
) -> None:
    def explained(path: Path) -> dict[str, Any]:
        outcome = run_emostream("explain", path, "--json", "--output", tmp_path / "out.png")
        assert outcome.code == 0, outcome.err
        (face,) = json.loads(outcome.out)["faces"]
        return dict(face)

    cv2.imwrite(str(tmp_path / "masked.png"), masked(rgb, landmarks, MASKS["blue"])[:, :, ::-1])
    hidden, seen = explained(tmp_path / "masked.png"), explained(portrait)
    assert (hidden["named"], hidden["quality"]) == ("unknown", ["occluded"])
    assert (seen["named"], seen["quality"]) == ("happy", [])
