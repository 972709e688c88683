"""The filter follows constant motion, grows uncertain while blind, and does not care how time is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.track.motion import correct, motion_from_box, predict

BOX = (80.0, 60.0, 120.0, 110.0)


def test_a_new_box_is_where_it_was_seen() -> None:
    motion = motion_from_box(BOX, at_seconds=3.0)
    np.testing.assert_allclose(motion.box_xyxy, BOX)
    assert motion.size == 45


def test_learns_a_constant_velocity() -> None:
    motion = motion_from_box(BOX, at_seconds=0.0)
    for index in range(1, 50):
        motion = predict(motion, at_seconds=index / 25)
        motion = correct(motion, np.add(BOX, (2 * index, 0, 2 * index, 0)))
    assert motion.velocities == pytest.approx([50, 0, 0, 0], rel=0.1, abs=0.5)
    ahead = predict(motion, at_seconds=motion.at_seconds + 0.2)
    assert ahead.box_xyxy[0] - motion.box_xyxy[0] == pytest.approx(10, rel=0.2)


@given(st.floats(0, 3), st.floats(0.01, 3))
def test_less_certain_the_longer_unseen(first: float, further: float) -> None:
    motion = motion_from_box(BOX, at_seconds=0.0)
    nearer = predict(motion, at_seconds=first)
    later = predict(motion, at_seconds=first + further)
    assert later.position_deviation > nearer.position_deviation
    assert correct(later, BOX).position_deviation < later.position_deviation


@given(st.floats(0, 2), st.floats(0, 2), st.lists(st.floats(-100, 100), min_size=4, max_size=4))
def test_two_predictions_are_one(first: float, second: float, velocities: list[float]) -> None:
    motion = motion_from_box((80, 60, 480, 510), at_seconds=0.0)
    motion.velocities[:] = velocities
    stepwise = predict(predict(motion, at_seconds=first), at_seconds=first + second)
    at_once = predict(motion, at_seconds=first + second)
    np.testing.assert_allclose(stepwise.values, at_once.values, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(stepwise.velocities, at_once.velocities, rtol=1e-9, atol=1e-6)


def test_time_before_now_changes_nothing() -> None:
    motion = motion_from_box(BOX, at_seconds=5.0)
    assert predict(motion, at_seconds=4.0).at_seconds == 5.0
