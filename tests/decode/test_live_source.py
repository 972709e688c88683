"""Live sources come back: after errors, after hanging calls, with a time line that goes on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from emostream.decode.backoff import Backoff
from emostream.decode.blocked_calls import BLOCKED_CALLS
from emostream.decode.live_source import LiveSource
from emostream.decode.source import FrameSource
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamState
from emostream.errors import SourceError, SourceRejectedError, SourceUnavailableError
from emostream.testing.fakes import ScriptedSource, gray_frames
from tests.media import wait_until

GONE = SourceUnavailableError("the camera is gone")
REFUSED = SourceRejectedError("no such path")


class HangingSource(ScriptedSource):
    """Hangs in a call that nothing ends but `let_go`, as FFmpeg may."""

    def __init__(self, *, num_frames: int = 0, in_open: bool = False, let_go: threading.Event) -> None:
        super().__init__(gray_frames(num_frames), kind=StreamKind.LIVE)
        self._in_open = in_open
        self._let_go = let_go

    def __enter__(self) -> HangingSource:
        if self._in_open:
            self._let_go.wait()
        return self

    def __iter__(self) -> Iterator[Frame]:
        yield from super().__iter__()
        self._let_go.wait()


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def scripted(
    num_frames: int = 3, *, error: SourceError | None = GONE, open_error: SourceError | None = None
) -> ScriptedSource:
    return ScriptedSource(gray_frames(num_frames), error=error, open_error=open_error, kind=StreamKind.LIVE)


def live(
    sources: Sequence[FrameSource],
    *,
    on_state: Callable[[StreamState, str], None] | None = None,
    max_abandoned: int = 3,
    stall_seconds: float = 0.1,
    **options: Any,
) -> LiveSource:
    """A live source that finds these sources, one at each attempt."""
    remaining = iter(sources)
    return LiveSource(
        lambda: next(remaining),
        backoff=Backoff(random.Random(0), base_seconds=0.001, cap_seconds=0.01),
        open_stall_seconds=stall_seconds,
        read_stall_seconds=stall_seconds,
        on_state=on_state,
        max_abandoned=max_abandoned,
        **options,
    )


def test_indexes_and_time_go_on_over_reconnections() -> None:
    with live([scripted(), scripted(), scripted(error=None)]) as source:
        frames = list(source)
    assert [frame.frame_index for frame in frames] == list(range(9))
    times = [frame.pts_seconds for frame in frames]
    assert times == sorted(set(times))
    assert source.live_stats.num_reconnects == 2
    assert source.stats.num_decoded == 9


def test_the_states_tell_the_reason() -> None:
    states: list[tuple[StreamState, str]] = []
    sources = [scripted(), scripted(open_error=GONE), scripted(error=None)]
    with live(sources, on_state=lambda state, detail: states.append((state, detail))) as source:
        list(source)
    reconnecting = (StreamState.RECONNECTING, "the camera is gone")
    assert states == [reconnecting, reconnecting, (StreamState.RUNNING, "")]


def test_an_error_for_good_ends_a_source_that_never_worked() -> None:
    with pytest.raises(SourceRejectedError, match="no such path"), live([scripted(open_error=REFUSED)]):
        pass


def test_the_same_error_later_is_tried_again() -> None:
    with live([scripted(), scripted(open_error=REFUSED), scripted(error=None)]) as source:
        assert len(list(source)) == 6


def test_a_source_that_is_away_at_first_is_waited_for() -> None:
    with live([scripted(open_error=GONE)] * 5 + [scripted(error=None)]) as source:
        assert len(list(source)) == 3
    assert source.live_stats.num_failures == 5


def test_for_a_person_who_waits_the_first_error_is_the_answer() -> None:
    with pytest.raises(SourceUnavailableError), live([scripted(open_error=GONE)], gives_up_unopened=True):
        pass
    with live([scripted(), scripted(open_error=GONE), scripted(error=None)], gives_up_unopened=True) as source:
        assert len(list(source)) == 6


@pytest.mark.parametrize("in_open", [True, False], ids=["opening", "reading"])
def test_a_call_that_hangs_is_left_behind(let_go: threading.Event, in_open: bool) -> None:
    hanging = HangingSource(num_frames=2, in_open=in_open, let_go=let_go)
    started = time.monotonic()
    with live([hanging, scripted(error=None)]) as source:
        frames = list(source)
    assert time.monotonic() - started < 10
    assert len(frames) == (3 if in_open else 5)
    assert hanging.is_closed
    assert source.live_stats.num_stalls == source.live_stats.num_abandoned == 1
    num_blocked = BLOCKED_CALLS.count()
    let_go.set()
    assert wait_until(lambda: BLOCKED_CALLS.count() < num_blocked)


def test_threads_left_behind_are_bounded(let_go: threading.Event) -> None:
    blocked = threading.Event()
    details: list[str] = []

    def observe(state: StreamState, detail: str) -> None:
        details.append(detail)
        if "calls into the source are blocked" in detail:
            blocked.set()

    def release() -> None:
        blocked.wait(5)
        let_go.set()

    sources = [HangingSource(num_frames=1, let_go=let_go) for _ in range(2)] + [scripted(error=None)]
    with live(sources, on_state=observe, max_abandoned=2) as source:
        threading.Thread(target=release, daemon=True).start()
        frames = list(source)
    assert blocked.is_set()
    assert len(frames) == 5
    assert source.live_stats.num_abandoned == 0


def test_with_many_threads_left_behind_it_is_opened_all_the_same(let_go: threading.Event) -> None:
    hanging = [HangingSource(num_frames=1, let_go=let_go) for _ in range(4)]
    with live([*hanging, scripted(error=None)], max_abandoned=1, blocked_pause_seconds=0.01) as source:
        frames = list(source)
    assert len(frames) == 7
    assert source.live_stats.num_abandoned == 4
    assert not let_go.is_set()


@pytest.mark.parametrize("in_open", [True, False], ids=["opening", "reading"])
def test_closing_ends_it_at_once(let_go: threading.Event, in_open: bool) -> None:
    source = live([HangingSource(num_frames=1, in_open=in_open, let_go=let_go)], stall_seconds=30)
    threading.Timer(0.1, source.close).start()
    started = time.monotonic()
    if in_open:
        with pytest.raises(SourceUnavailableError):
            source.__enter__()
    else:
        with source:
            assert len(list(source)) == 1
    assert time.monotonic() - started < 15


def test_packets_without_pictures_are_progress(let_go: threading.Event) -> None:
    source = HangingSource(num_frames=1, let_go=let_go)

    def receive() -> None:
        while not let_go.wait(0.02):
            source.stats.num_packets += 1

    threading.Thread(target=receive, daemon=True).start()
    threading.Timer(0.5, let_go.set).start()
    with live([source]) as opened:
        assert len(list(opened)) == 1
    assert opened.live_stats.num_stalls == 0
