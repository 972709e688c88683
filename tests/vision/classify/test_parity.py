"""When two forms of a model count as the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.errors import ManifestError
from emostream.vision.classify.parity import TOLERANCES, compare, require_parity

Array = npt.NDArray[np.float32]


def distributions(seed: int, num: int = 50) -> Array:
    rows = np.random.default_rng(seed).random((num, 7)).astype(np.float32)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_distance_is_that_of_the_output_where_it_is_largest(first: int, second: int) -> None:
    same, before, after = distributions(first), distributions(first), distributions(second)
    parity = compare((same, before), (same, after))
    assert parity == compare((same, after), (same, before))
    assert parity.argmax_agreement == pytest.approx((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    assert parity.max_difference == pytest.approx(np.abs(before - after).max())
    assert parity.mean_difference == pytest.approx(np.abs(before - after).mean() / 2, abs=1e-6)
    assert parity.num_crops == 50


@pytest.mark.parametrize("precision", TOLERANCES)
def test_the_same_outputs_match_in_every_precision(precision: str) -> None:
    parity = compare((distributions(1),), (distributions(1),))
    assert parity.argmax_agreement == 1
    assert parity.max_difference == 0
    require_parity(parity, precision=precision, what="it")


def test_the_policy_is_that_of_the_issue() -> None:
    assert TOLERANCES["fp16"].min_argmax_agreement == 0.995
    assert TOLERANCES["int8"].min_argmax_agreement == 0.985


def test_what_differs_is_named_with_what_was_expected() -> None:
    reference = np.eye(7, dtype=np.float32)
    with pytest.raises(ManifestError, match=r"7 crops.* 0\.985"):
        require_parity(compare((reference,), (np.roll(reference, 1, axis=1),)), precision="int8", what="the engine")


def test_undecided_crops_do_not_count_with_a_margin() -> None:
    before = np.array([[0.6, 0.4], [0.52, 0.48]], np.float32)
    after = np.array([[0.7, 0.3], [0.48, 0.52]], np.float32)
    assert compare((before,), (after,)).argmax_agreement == 0.5
    assert compare((before,), (after,), min_margin=0.1).argmax_agreement == 1
    assert compare((before,), (after[::-1],), min_margin=0.1).argmax_agreement == 0
    assert compare((before,), (after,), min_margin=0.9).argmax_agreement == 1


def test_a_nan_never_matches() -> None:
    reference = np.eye(7, dtype=np.float32)
    with pytest.raises(ManifestError):
        require_parity(compare((reference,), (reference * np.float32("nan"),)), precision="int8", what="it")
