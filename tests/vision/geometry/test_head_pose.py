"""Head poses: turned heads with known angles, seen by a distant camera."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.detect.align import TEMPLATE_LANDMARKS
from emostream.vision.geometry.head_pose import HEAD_POINTS, head_poses

Angles = tuple[float, float, float]


def landmarks_of(
    angles: Angles, *, size: float = 40.0, centre: tuple[float, float] = (200.0, 90.0)
) -> npt.NDArray[np.float64]:
    """The landmarks of a head with these angles, its eyes `size` pixels apart; x right, y down, z to the camera."""
    yaw, pitch, roll = (math.radians(angle) for angle in angles)
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    lean = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return np.asarray((HEAD_POINTS @ (turn @ nod @ lean).T)[:, :2] * size + centre)


@given(
    st.tuples(st.floats(-80, 80), st.floats(-60, 60), st.floats(-175, 175)),
    st.floats(8, 400),
    st.tuples(st.floats(-500, 4000), st.floats(-500, 4000)),
)
def test_the_angles_of_a_turned_head_come_back(angles: Angles, size: float, centre: tuple[float, float]) -> None:
    assert head_poses(landmarks_of(angles, size=size, centre=centre)[None])[0] == pytest.approx(angles, abs=1e-3)


def test_several_heads_at_once() -> None:
    wanted = [(0.0, 0.0, 0.0), (35.0, -10.0, 5.0), (-60.0, 20.0, -90.0)]
    found = head_poses(np.array([landmarks_of(angles) for angles in wanted]))
    assert found == pytest.approx(np.array(wanted), abs=1e-3)
    assert head_poses(np.empty((0, 5, 2))).shape == (0, 3)


def test_the_median_face_of_the_training_pictures_looks_straight_ahead() -> None:
    assert head_poses(TEMPLATE_LANDMARKS[None])[0] == pytest.approx((0, 0, 0), abs=0.1)


def test_signs_are_those_of_the_picture() -> None:
    nose_to_the_right, nose_up, clockwise = (np.array(TEMPLATE_LANDMARKS) for _ in range(3))
    nose_to_the_right[2, 0] += 6
    nose_up[2, 1] -= 4
    turn = math.radians(20)
    clockwise = (clockwise - 32) @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]) + 32
    yaw, pitch, roll = np.diag(head_poses(np.array([nose_to_the_right, nose_up, clockwise])))
    assert yaw > 20
    assert pitch > 10
    assert roll == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("x", [(0, 0, 0, 0, 0), (0, 1, 2, 3, 4)], ids=["one point", "one line"])
def test_points_that_are_no_face_give_numbers(x: tuple[int, ...]) -> None:
    assert np.isfinite(head_poses(np.array([[(value, value) for value in x]], dtype=float))).all()
