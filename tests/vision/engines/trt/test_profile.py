"""How a batch is cut into the sizes that an engine has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.engines.trt.profile import ShapeProfile, fixed, plan_batches

buckets = st.sets(st.integers(1, 300), min_size=1, max_size=6).map(lambda sizes: tuple(sorted(sizes)))


@given(st.integers(0, 5000), buckets)
def test_every_item_has_a_place_and_only_the_last_batch_has_empty_ones(num: int, sizes: tuple[int, ...]) -> None:
    plan = plan_batches(num, sizes)
    assert set(plan) <= set(sizes)
    assert sum(plan) >= num
    assert sum(plan[:-1]) < num or not plan
    assert list(plan) == sorted(plan, reverse=True)


@given(st.integers(1, 300), buckets)
def test_a_batch_of_a_size_there_is_stays_whole(num: int, sizes: tuple[int, ...]) -> None:
    if num in sizes:
        assert plan_batches(num, sizes) == (num,)


@pytest.mark.parametrize(
    ("num", "plan"),
    [(0, ()), (1, (1,)), (2, (8,)), (8, (8,)), (9, (8, 1)), (24, (32,)), (33, (32, 1)), (129, (128, 1))],
)
def test_a_few_empty_places_are_better_than_many_starts_but_not_than_much_work(num: int, plan: tuple[int, ...]) -> None:
    assert plan_batches(num, (1, 8, 32, 128)) == plan


def test_many_items_of_one_size_are_no_problem() -> None:
    assert plan_batches(100_000, (1,)) == (1,) * 100_000


def test_shapes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError):
        ShapeProfile((1, 64, 64), (8, 64, 64), (4, 64, 64))


def test_a_profile_takes_what_lies_between_its_ends() -> None:
    profile = ShapeProfile((1, 32, 32), (1, 192, 320), (1, 384, 640))
    assert profile.takes((1, 64, 320))
    assert not profile.takes((2, 64, 320))
    assert not profile.takes((64, 320))
    assert str(profile) == "1×32×32…1×192×320…1×384×640"
    assert str(fixed((8, 64, 64))) == "8×64×64"
