"""An overloaded stream is classified less often, evenly, and fully again when it has calmed down."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.classify.load_shedding import LATE_SECONDS, LoadShedding

FPS = 25


def due_frames(wait_of: Callable[[int], float], *, num_frames: int) -> list[int]:
    pace = LoadShedding()
    return [index for index in range(num_frames) if pace.is_due(wait_seconds=wait_of(index), now_seconds=index / FPS)]


def test_a_stream_that_keeps_up_is_classified_in_every_frame() -> None:
    assert due_frames(lambda index: LATE_SECONDS, num_frames=100) == list(range(100))


def test_late_frames_make_the_steps_longer_up_to_eight() -> None:
    due = due_frames(lambda index: 0.2, num_frames=200)
    steps = [after - before for before, after in itertools.pairwise(due)]
    assert steps[0] == 2 and steps == sorted(steps)
    assert set(steps) == {2, 4, 8}


def test_a_moment_of_trouble_halves_the_rate_for_two_seconds() -> None:
    due = due_frames(lambda index: 0.2 if index == 10 else 0.0, num_frames=100)
    assert due[:10] == list(range(10))
    in_trouble = [index for index in due if 10 <= index < 60]
    assert len(in_trouble) == 25
    assert due[-39:] == list(range(61, 100))


@given(st.lists(st.floats(0, 1), max_size=300))
def test_spacing_is_even_within_a_step(waits: list[float]) -> None:
    pace = LoadShedding()
    since = 0
    for index, wait_seconds in enumerate(waits):
        is_due = pace.is_due(wait_seconds=wait_seconds, now_seconds=index / FPS)
        since += 1
        assert since <= pace.step or is_due
        assert since <= 8
        since = 0 if is_due else since
