"""Exactly once, in order, in a small storm; the long one is `python -m tests.publish.stress`."""

from __future__ import annotations

import pytest

from tests.publish.stress import run_storm

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_every_event_arrives_exactly_once_and_in_order(seed: int) -> None:
    outcome = run_storm(num_events=12_000, num_streams=4, seed=seed, pause_seconds=0.1)
    assert outcome.problems == []
    assert outcome.num_cuts + outcome.num_kills + outcome.num_depositions >= 3
    assert outcome.num_entries >= outcome.num_events
