"""Who asks too often waits; others do not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emostream.service.api.limits import TokenBuckets


@given(pauses=st.lists(st.floats(0, 2), max_size=60), per_second=st.floats(0.5, 50), burst=st.floats(1, 20))
def test_at_most_the_rate_and_the_burst_get_through(pauses: list[float], per_second: float, burst: float) -> None:
    buckets = TokenBuckets(per_second=per_second, burst=burst)
    now_seconds, num_through = 0.0, 0
    for pause in pauses:
        now_seconds += pause
        num_through += buckets.wait_seconds("one", now_seconds=now_seconds) == 0.0
    assert num_through <= burst + now_seconds * per_second + 1e-6


@given(per_second=st.floats(0.5, 50), seconds=st.floats(0, 100))
def test_a_client_that_waits_for_retry_after_gets_through(per_second: float, seconds: float) -> None:
    buckets = TokenBuckets(per_second=per_second, burst=1)
    assert buckets.wait_seconds("one", now_seconds=seconds) == 0
    wait_seconds = buckets.wait_seconds("one", now_seconds=seconds)
    assert wait_seconds > 0
    assert buckets.wait_seconds("other", now_seconds=seconds) == 0
    assert buckets.wait_seconds("one", now_seconds=seconds + wait_seconds + 1e-6) == 0


def test_clients_are_forgotten() -> None:
    buckets = TokenBuckets(per_second=1, burst=1)
    for number in range(20_000):
        buckets.wait_seconds(str(number), now_seconds=0)
    assert len(buckets) == 10_000
