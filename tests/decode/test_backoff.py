"""Back-off: bounded, growing, forgiving after health."""

from __future__ import annotations

import itertools
import random
import statistics

from hypothesis import given
from hypothesis import strategies as st

from emostream.decode.backoff import Backoff, max_delay_seconds

ATTEMPTS = st.integers(0, 10_000)


@given(ATTEMPTS)
def test_limit_is_bounded_and_monotone(attempt: int) -> None:
    assert 0 < max_delay_seconds(attempt) <= max_delay_seconds(attempt + 1) <= 30.0


@given(seed=st.integers(), runs=st.lists(st.floats(0, 100), max_size=50))
def test_delays_stay_within_the_limit(seed: int, runs: list[float]) -> None:
    backoff = Backoff(random.Random(seed))
    num_failures = 0
    for ran_for_seconds in runs:
        num_failures = 0 if ran_for_seconds >= 30 else num_failures
        delay = backoff.next_delay_seconds(ran_for_seconds=ran_for_seconds)
        assert 0 <= delay <= max_delay_seconds(num_failures)
        num_failures += 1
        assert backoff.num_failures == num_failures


def test_mean_delay_grows_up_to_the_cap() -> None:
    series = []
    for seed in range(500):
        backoff = Backoff(random.Random(seed))
        series.append([backoff.next_delay_seconds(ran_for_seconds=0) for _ in range(10)])
    means = [statistics.mean(delays) for delays in zip(*series, strict=True)]
    assert all(before < after for before, after in itertools.pairwise(means[:7]))
    assert all(13 < mean < 17 for mean in means[6:])  # half of the cap


def test_same_seed_same_delays() -> None:
    first, second = Backoff(random.Random(1)), Backoff(random.Random(1))
    assert [first.next_delay_seconds(ran_for_seconds=0) for _ in range(5)] == [
        second.next_delay_seconds(ran_for_seconds=0) for _ in range(5)
    ]
