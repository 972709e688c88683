"""Smoothing keeps a distribution, depends on time alone, and forgets tracks that ended."""

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.classify.smoothing import EmotionSmoother

Array = npt.NDArray[np.float64]

distributions = hnp.arrays(np.float64, 7, elements=st.floats(0.001, 1)).map(lambda values: values / values.sum())
steps = st.floats(0, 5)


@given(st.lists(st.tuples(distributions, steps), min_size=1, max_size=20), st.floats(0, 3))
def test_result_is_a_distribution(values: list[tuple[Array, float]], time_constant: float) -> None:
    smoother = EmotionSmoother(time_constant_seconds=time_constant)
    pts_seconds = 0.0
    for probabilities, step in values:
        pts_seconds += step
        smoothed = smoother.smooth(1, probabilities, pts_seconds=pts_seconds)
        assert smoothed.sum() == pytest.approx(1)
        assert (smoothed >= 0).all()


@given(distributions, distributions, steps, steps, st.floats(0.05, 3))
def test_two_steps_are_one_for_constant_input(
    start: Array, value: Array, first: float, second: float, time_constant: float
) -> None:
    twice = EmotionSmoother(time_constant_seconds=time_constant)
    twice.smooth(1, start, pts_seconds=0)
    twice.smooth(1, value, pts_seconds=first)
    once = EmotionSmoother(time_constant_seconds=time_constant)
    once.smooth(1, start, pts_seconds=0)
    np.testing.assert_allclose(
        twice.smooth(1, value, pts_seconds=first + second),
        once.smooth(1, value, pts_seconds=first + second),
        atol=1e-12,
    )


def test_after_the_time_constant_63_per_cent_is_new() -> None:
    smoother = EmotionSmoother(time_constant_seconds=0.5)
    smoother.smooth(1, np.array([1.0, 0.0]), pts_seconds=2.0)
    assert smoother.smooth(1, np.array([0.0, 1.0]), pts_seconds=2.5)[1] == pytest.approx(1 - np.exp(-1))


def test_zero_means_no_smoothing() -> None:
    smoother = EmotionSmoother(time_constant_seconds=0)
    smoother.smooth(1, np.array([1.0, 0.0]), pts_seconds=0)
    assert smoother.smooth(1, np.array([0.0, 1.0]), pts_seconds=0.001).tolist() == [0, 1]


def test_tracks_do_not_mix_and_are_forgotten() -> None:
    smoother = EmotionSmoother(time_constant_seconds=1)
    smoother.smooth(1, np.array([1.0, 0.0]), pts_seconds=0)
    assert smoother.smooth(2, np.array([0.0, 1.0]), pts_seconds=0.1).tolist() == [0, 1]
    assert len(smoother) == 2
    smoother.forget([1, 7])
    assert len(smoother) == 1
    assert smoother.smooth(1, np.array([0.5, 0.5]), pts_seconds=0.2).tolist() == [0.5, 0.5]


def test_neither_input_nor_state_can_be_changed_from_outside() -> None:
    smoother = EmotionSmoother(time_constant_seconds=1)
    value = np.array([1.0, 0.0])
    smoother.smooth(1, value, pts_seconds=0)[:] = 9
    value[:] = 9
    assert smoother.smooth(1, np.array([1.0, 0.0]), pts_seconds=1).tolist() == [1, 0]


def test_negative_time_constant_is_refused() -> None:
    with pytest.raises(ValueError, match="time_constant_seconds"):
        EmotionSmoother(time_constant_seconds=-1)
