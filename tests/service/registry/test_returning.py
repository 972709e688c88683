"""After an outage of the registry nobody takes what others still have; and nobody is waited for for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emostream.service.registry.placement import RebalanceDelay

WORKERS = st.frozensets(st.sampled_from("abcd"))
LEASE_SECONDS = 5.0


def after_an_outage(before: frozenset[str], first: frozenset[str]) -> RebalanceDelay:
    """Who lived before it, and who is seen by the first heartbeat after it, a hundred seconds later."""
    returning = RebalanceDelay(lease_seconds=LEASE_SECONDS)
    returning.note(before, was_away=False, now_seconds=0.0)
    assert not returning.are_awaited
    returning.note(first, was_away=True, now_seconds=100.0)
    return returning


@given(before=WORKERS, first=WORKERS)
def test_who_lived_before_is_awaited(before: frozenset[str], first: frozenset[str]) -> None:
    returning = after_an_outage(before, first)
    assert returning.are_awaited == (not before <= first)
    returning.note(first | before, was_away=False, now_seconds=100.1)
    assert not returning.are_awaited, "all are back"


@given(before=WORKERS, first=WORKERS)
def test_no_longer_than_a_lease(before: frozenset[str], first: frozenset[str]) -> None:
    returning = after_an_outage(before, first)
    returning.note(first, was_away=False, now_seconds=100.0 + LEASE_SECONDS)
    assert not returning.are_awaited


def test_two_outages_in_a_row() -> None:
    returning = after_an_outage(frozenset("ab"), frozenset("a"))
    returning.note({"a"}, was_away=True, now_seconds=104.0)
    returning.note({"a"}, was_away=False, now_seconds=106.0)
    assert returning.are_awaited, "the time begins anew"


def test_without_an_outage_no_worker_is_awaited() -> None:
    returning = RebalanceDelay(lease_seconds=LEASE_SECONDS)
    for living in ({"a", "b"}, {"a"}, set[str]()):
        returning.note(living, was_away=False, now_seconds=1.0)
        assert not returning.are_awaited
