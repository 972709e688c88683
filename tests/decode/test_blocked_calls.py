"""Threads that were left behind are counted until they end."""

from __future__ import annotations

import threading

from emostream.decode.blocked_calls import BlockedCalls


def test_what_still_runs_counts_from_a_certain_age() -> None:
    now = 0.0
    calls = BlockedCalls(clock=lambda: now)
    let_go = threading.Event()
    threads = [threading.Thread(target=let_go.wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
        calls.left_behind(thread)
        now += 10
    assert calls.count() == 3
    assert calls.count(min_seconds=15) == 2
    let_go.set()
    for thread in threads:
        thread.join()
    assert calls.count() == 0
