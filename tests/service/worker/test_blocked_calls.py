"""Calls into sources that never return: their streams go on elsewhere, and the process that hosts them is replaced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from emostream.decode.blocked_calls import BlockedCalls
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamState
from emostream.errors import EmostreamError
from emostream.testing.fakes import CollectingSink, ScriptedSource, gray_frames
from tests.service.streams import EndlessSource, ScriptedParts, live_record
from tests.service.worker_bench import Bench, bench, file_record, until

__all__ = ["bench"]

pytestmark = pytest.mark.integration


class HungFile(ScriptedSource):
    """A file whose server is away after some frames, or before it is open: reads never return."""

    def __init__(self, let_go: threading.Event, *, num_frames: int = 20) -> None:
        super().__init__(gray_frames(num_frames), kind=StreamKind.FILE)
        self._let_go = let_go
        self._num_frames = num_frames

    def __enter__(self) -> HungFile:
        if not self._num_frames:
            self._let_go.wait()
        super().__enter__()
        return self

    def __iter__(self) -> Iterator[Frame]:
        yield from super().__iter__()
        self._let_go.wait()


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("num_frames", [0, 20], ids=["opening", "reading"])
async def test_a_file_that_hangs_on_one_worker_is_read_by_another(
    bench: Bench, let_go: threading.Event, num_frames: int
) -> None:
    parts = ScriptedParts(lambda spec: HungFile(let_go, num_frames=num_frames))
    parts.end_seconds = 0.2
    sink = CollectingSink()
    worker = bench.start_worker("hung", sink=sink, parts=parts, blocked_seconds=0.3)
    for number in range(3):
        await bench.registry.create(file_record(f"clip{number}"))

    async def all_are_given_back() -> bool:
        given_back = {event.stream_id for event in sink.statuses if event.state is StreamState.PENDING}
        return len(given_back) == 3 and worker.is_suspect

    await until(all_are_given_back)
    bench.start_worker("good", sink=CollectingSink(), source_of=lambda spec: ScriptedSource(gray_frames(5)))

    async def all_ended() -> bool:
        return {status.state for status in await bench.statuses()} == {StreamState.ENDED}

    await until(all_ended)


async def test_a_file_that_waits_is_not_blocked(bench: Bench) -> None:
    sink = CollectingSink()
    bench.start_worker("w1", sink=sink, blocked_seconds=0.3)
    await bench.registry.create(replace(file_record(), is_paused=True))
    await bench.registry.create(file_record("running"))

    async def is_read() -> bool:
        return len(sink.events) > 50

    await until(is_read)
    assert {event.state for event in sink.statuses} <= {StreamState.CONNECTING, StreamState.RUNNING}


async def test_a_stream_that_hangs_can_be_deleted_and_added_again(bench: Bench, let_go: threading.Event) -> None:
    hung = True
    parts = ScriptedParts(lambda spec: HungFile(let_go) if hung else ScriptedSource(gray_frames(5)))
    parts.end_seconds = 0.2
    sink = CollectingSink()
    bench.start_worker("w1", sink=sink, parts=parts)
    await bench.registry.create(file_record())

    async def is_read() -> bool:
        return len(sink.events) >= 8

    await until(is_read)
    await bench.registry.remove("clip")
    hung = False
    await bench.registry.create(file_record())
    await until(lambda: bench.is_state("clip", StreamState.ENDED))


async def test_too_many_blocked_calls_ask_for_a_new_process(bench: Bench, let_go: threading.Event) -> None:
    now = 0.0
    calls = BlockedCalls(clock=lambda: now)
    worker = bench.start_worker("w1", sink=CollectingSink(), blocked_calls=calls)
    await bench.registry.create(live_record())
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
    threads = [threading.Thread(target=let_go.wait, daemon=True) for _ in range(49)]
    for thread in threads:
        thread.start()
        calls.left_behind(thread)
    worker.check()  # most of them end soon
    now = 31.0
    with pytest.raises(EmostreamError):
        worker.check()
    await worker.drain(timeout_seconds=5)
    worker.check()
    bench.start_worker("w2", sink=CollectingSink(), source_of=lambda spec: EndlessSource())
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
