"""The parts of a face divide its crop, wherever the landmarks are, and lie where they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.detect.align import TEMPLATE_LANDMARKS
from emostream.vision.explain.regions import REGIONS, hide, region_masks

SIDE = 64
anywhere = st.floats(-20, 84)


@given(st.lists(st.tuples(anywhere, anywhere), min_size=5, max_size=5))
def test_every_pixel_belongs_to_one_part(landmarks: list[tuple[float, float]]) -> None:
    masks = region_masks(landmarks, side=SIDE)
    assert tuple(masks) == REGIONS
    assert (np.sum(list(masks.values()), axis=0) == 1).all()


def test_all_landmarks_on_one_point_are_no_error() -> None:
    assert region_masks([(30.0, 30.0)] * 5, side=SIDE)["surroundings"].any()


def test_landmarks_lie_in_their_parts() -> None:
    masks = region_masks(TEMPLATE_LANDMARKS, side=SIDE)
    for name, points in (
        ("eyes", TEMPLATE_LANDMARKS[:2]),
        ("nose", TEMPLATE_LANDMARKS[2:3]),
        ("mouth", TEMPLATE_LANDMARKS[3:]),
    ):
        for x, y in points:
            assert masks[name][int(y), int(x)], name
    heights = {
        name: np.nonzero(masks[name])[0].mean() for name in ("forehead", "brows", "eyes", "nose", "mouth", "chin")
    }
    assert list(heights.values()) == sorted(heights.values())
    assert masks["surroundings"][0, 0]
    assert all(masks[name].any() for name in REGIONS)


def test_parts_turn_with_the_face() -> None:
    """A face upside down has its mouth on top."""
    turned = SIDE - TEMPLATE_LANDMARKS
    upright, upside_down = region_masks(TEMPLATE_LANDMARKS, side=SIDE), region_masks(turned, side=SIDE)
    for name in REGIONS:
        assert (upside_down[name] != upright[name][::-1, ::-1]).mean() < 0.02, name


def test_hiding_paints_over_one_part_and_leaves_the_rest() -> None:
    crop = np.full((SIDE, SIDE), 90, dtype=np.uint8)
    mask = region_masks(TEMPLATE_LANDMARKS, side=SIDE)["mouth"]
    crop[mask] = 250
    hidden = hide(crop, mask)
    assert hidden[mask].max() < 120
    assert (hidden[0:30] == 90).all()
    assert crop[mask].min() == 250


@pytest.mark.parametrize("whole", [True, False], ids=["everything", "nothing"])
def test_hiding_everything_or_nothing_is_no_error(whole: bool) -> None:
    crop = np.random.default_rng(0).integers(0, 255, size=(SIDE, SIDE), dtype=np.uint8)
    hidden = hide(crop, np.full((SIDE, SIDE), whole))
    assert hidden.shape == crop.shape
    assert whole or (hidden == crop).all()
