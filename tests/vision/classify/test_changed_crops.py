"""Which crops are classified again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.face import Face
from emostream.vision.classify.changed_crops import MAX_AGE_SECONDS, MIN_FACE_PIXELS, ChangedCrops

Crops = npt.NDArray[np.uint8]
_RANDOM = np.random.default_rng(3)
CROP = _RANDOM.integers(0, 255, (48, 48), dtype=np.uint8)
OTHER = _RANDOM.integers(0, 255, (48, 48), dtype=np.uint8)


def _face(track_id: int = 1, *, height: float = 80.0) -> Face:
    points = tuple((height * x, height * y) for x, y in ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)))
    return Face((0.0, 0.0, height, height), 0.9, points, track_id=track_id)


def _of(*crops: Crops) -> Crops:
    return np.stack(crops)


@pytest.mark.parametrize(("fps", "step"), [(60, 6), (30, 3), (25, 3), (12, 3), (10, 2), (5, 1)])
def test_an_unchanged_crop_is_classified_now_and_then(fps: int, step: int) -> None:
    changed = ChangedCrops()
    chosen = [changed.choose([_face()], _of(CROP), pts_seconds=index / fps)[0] for index in range(30)]
    assert chosen == [index % step == 0 for index in range(30)]


def test_a_face_that_turns_or_speaks_is_classified_at_once() -> None:
    changed = ChangedCrops()
    changed.choose([_face()], _of(CROP), pts_seconds=0.0)
    speaking = CROP.copy()
    speaking[30:44, 12:36] = 255 - speaking[30:44, 12:36]
    turned = np.roll(CROP, 3, axis=1)
    noisy = np.clip(CROP.astype(float) + _RANDOM.normal(0, 2, CROP.shape), 0, 255).astype(np.uint8)
    assert changed.choose([_face()], _of(noisy), pts_seconds=0.01) == [False]
    assert changed.choose([_face()], _of(speaking), pts_seconds=0.02) == [True]
    assert changed.choose([_face()], _of(turned), pts_seconds=0.03) == [True]


def test_slow_change_adds_up() -> None:
    """It is compared with the crop that was classified, not with the last one."""
    changed = ChangedCrops()
    steps = [np.clip(0.95**step * CROP.astype(float), 0, 255).astype(np.uint8) for step in range(12)]
    chosen = [changed.choose([_face()], _of(crop), pts_seconds=index / 1000)[0] for index, crop in enumerate(steps)]
    assert chosen[:2] == [True, False] and any(chosen[2:])


@pytest.mark.parametrize(
    ("face", "undecided", "pts_seconds"),
    [
        (_face(2), (), 0.04),
        (_face(height=MIN_FACE_PIXELS - 1), (), 0.04),
        (_face(), {1}, 0.04),
        (_face(), (), MAX_AGE_SECONDS),
        (_face(), (), -5.0),
    ],
    ids=["new", "small", "undecided", "old", "time went back"],
)
def test_it_is_classified_although_it_did_not_change(face: Face, undecided: set[int], pts_seconds: float) -> None:
    changed = ChangedCrops()
    changed.choose([_face()], _of(CROP), pts_seconds=0.0)
    assert changed.choose([face], _of(CROP), pts_seconds=pts_seconds, undecided=undecided) == [True]


def test_a_face_that_was_away_for_a_frame_is_new() -> None:
    changed = ChangedCrops()
    changed.choose([_face()], _of(CROP), pts_seconds=0.0)
    assert changed.choose([], np.empty((0, 48, 48), np.uint8), pts_seconds=0.01) == []
    assert changed.choose([_face()], _of(CROP), pts_seconds=0.02) == [True]


@given(st.lists(st.tuples(st.floats(0, 0.2), st.booleans()), max_size=40))
def test_no_result_is_older_than_the_bound(steps: list[tuple[float, bool]]) -> None:
    changed, at, classified_at, last = ChangedCrops(), 0.0, -1.0, CROP
    for elapsed, is_other in steps:
        at += elapsed
        crop = OTHER if is_other else CROP
        if changed.choose([_face()], _of(crop), pts_seconds=at) == [True]:
            classified_at, last = at, crop
        assert at - classified_at < MAX_AGE_SECONDS
        assert crop is last
