"""The number of workers: enough for all streams, within bounds, and at rest when nothing changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emostream.deployments.autoscaling import wanted_workers


@given(st.integers(0, 500), st.integers(1, 32), st.integers(1, 20), st.integers(0, 3))
def test_enough_within_bounds_and_at_rest(streams: int, cap: int, workers: int, overloaded: int) -> None:
    def wanted(now: int, num_overloaded: int) -> int:
        return wanted_workers(
            streams,
            max_streams_per_worker=cap,
            num_workers=now,
            num_overloaded=num_overloaded,
            min_workers=1,
            max_workers=20,
        )

    answer = wanted(workers, overloaded)
    assert 1 <= answer <= 20
    assert answer == 20 or answer * cap >= streams
    if overloaded and workers < 20:
        assert answer > workers
    settled = wanted(answer, 0)
    assert wanted(settled, 0) == settled
