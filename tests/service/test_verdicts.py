"""One worker's trouble stays its own: who says that a stream cannot run, and when that is believed."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.client import ApiError, AsyncServiceClient, ServiceClient
from emostream.config import load_settings
from emostream.decode.backoff import Backoff
from emostream.decode.live_source import LiveSource
from emostream.decode.source import FrameSource, SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import (
    ClassifierUnavailableError,
    ConfigError,
    DecodeError,
    EmostreamError,
    InferenceError,
    ManifestError,
    SourceNotHereError,
    SourceRejectedError,
    SourceUnavailableError,
)
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.records import WorkerEntry
from emostream.service.registry.store import FINISHED, HOSTS, OPENINGS, VERDICTS
from emostream.service.registry.streams import NotFailedError, UnknownStreamError
from emostream.service.verdicts import Verdict, are_final, verdict_of
from emostream.service.worker.trouble import StepWatch, Trouble
from emostream.testing.fakes import CollectingSink, ConstantClassifier, ScriptedSource, gray_frames
from emostream.vision.classify.batcher import CropBatcher
from emostream.wire.keys import events_key
from tests.integration.command_line import run_emostream
from tests.service.http_service import served_api
from tests.service.streams import EndlessSource, ScriptedParts, live_record
from tests.service.worker_bench import Bench, bench, file_record, until

__all__ = ["bench"]

REFUSED = SourceRejectedError("login refused (401)")
NOT_HERE = SourceNotHereError("the mount is missing")
FORBIDDEN = SourceNotHereError("not allowed here", is_forbidden=True)
GONE = SourceNotHereError("there is no such file", is_gone=True)


class ClosedSource(EndlessSource):
    """Cannot be opened."""

    def __init__(self, error: Exception, *, kind: StreamKind = StreamKind.LIVE) -> None:
        super().__init__(kind=kind)
        self._why = error

    @property
    def info(self) -> SourceInfo:
        raise RuntimeError("it is not open")

    def __enter__(self) -> Self:
        raise self._why


class Sources:
    """Sources of one worker, as a function of which nobody knows what it answers next."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.num_asked = 0

    def __call__(self, spec: StreamSpec) -> FrameSource:
        self.num_asked += 1
        if self.error is not None:
            return ClosedSource(self.error, kind=spec.kind)
        return EndlessSource() if spec.kind is StreamKind.LIVE else ScriptedSource(gray_frames(5))


class BreakableClassifier(ConstantClassifier):
    """An engine that fails for as long as it is told to."""

    is_broken = False

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if self.is_broken:
            raise InferenceError("CUDA failed: cudaErrorECCUncorrectable")
        return super().classify(crops)


def worker(worker_id: str, *, num_streams: int = 0, max_streams: int = 4, is_draining: bool = False) -> WorkerEntry:
    return WorkerEntry(worker_id, max_streams, num_streams, is_draining)


class TestWhatIsFinal:
    """`are_final`, from the side of worker "me"."""

    @pytest.mark.parametrize(
        ("judges", "others", "expected"),
        [
            # The source itself: two workers, or one where there is no other.
            ({"me": "refused"}, [], True),
            ({"me": "refused"}, [worker("a")], False),
            ({"me": "refused"}, [worker("a", num_streams=4)], False),
            ({"me": "refused"}, [worker("a", is_draining=True)], True),
            ({"me": "refused", "a": "refused"}, [worker("a"), worker("b")], True),
            ({"me": "refused", "dead": "refused"}, [worker("b")], True),
            ({"me": "refused", "a": "not-here"}, [worker("a"), worker("b")], False),
            ({"me": "damaged"}, [], True),
            ({"me": "damaged"}, [worker("a")], False),
            ({"me": "damaged"}, [worker("a", num_streams=4)], False),
            ({"me": "damaged", "a": "damaged"}, [worker("a"), worker("b")], True),
            ({"me": "damaged", "dead": "refused"}, [worker("b")], True),
            # A file that nobody has.
            ({"me": "gone"}, [], True),
            ({"me": "gone"}, [worker("a")], False),
            ({"me": "gone"}, [worker("a", num_streams=4)], False),
            ({"me": "gone", "a": "gone"}, [worker("a")], True),
            ({"me": "gone", "a": "not-here"}, [worker("a")], False),
            ({"me": "gone", "dead": "gone"}, [worker("a")], False),
            # Settings and defects: all of two and more.
            ({"me": "forbidden"}, [], False),
            ({"me": "forbidden", "a": "forbidden"}, [worker("a")], True),
            ({"me": "forbidden", "a": "forbidden"}, [worker("a"), worker("b")], False),
            ({"me": "defect", "a": "defect"}, [worker("a")], True),
            ({"me": "defect", "a": "not-here"}, [worker("a")], False),
            # Mounts, devices and names come back.
            ({"me": "not-here"}, [], False),
            ({"me": "not-here", "a": "not-here"}, [worker("a")], False),
        ],
    )
    def test_for_a_stream_that_never_worked(
        self, judges: dict[str, str], others: list[WorkerEntry], expected: bool
    ) -> None:
        said = {name: Verdict(word) for name, word in judges.items()}
        workers = [worker("me"), *others]
        for kind in StreamKind:
            assert are_final(said, worker_id="me", workers=workers, kind=kind, has_worked=False) is expected

    @given(
        st.dictionaries(st.sampled_from("abc"), st.sampled_from(Verdict)), st.sampled_from(Verdict), st.integers(0, 3)
    )
    def test_a_live_stream_that_worked_never_fails(
        self, others: dict[str, Verdict], mine: Verdict, num_workers: int
    ) -> None:
        workers = [worker("me"), *map(worker, "abc"[:num_workers])]
        judges = {**others, "me": mine}
        assert not are_final(judges, worker_id="me", workers=workers, kind=StreamKind.LIVE, has_worked=True)

    @given(st.sampled_from(Verdict), st.lists(st.sampled_from(Verdict), max_size=3))
    def test_a_file_that_worked_fails_only_when_it_is_gone_or_damaged(
        self, mine: Verdict, others: list[Verdict]
    ) -> None:
        names = "abc"[: len(others)]
        judges = {**dict(zip(names, others, strict=True)), "me": mine}
        workers = [worker("me"), *map(worker, names)]
        is_final = are_final(judges, worker_id="me", workers=workers, kind=StreamKind.FILE, has_worked=True)
        assert not is_final or mine in (Verdict.GONE, Verdict.DAMAGED)
        if mine is Verdict.GONE:
            assert not is_final or {*others} <= {Verdict.GONE, Verdict.REFUSED, Verdict.DAMAGED}

    @pytest.mark.parametrize(
        ("error", "verdict"),
        [
            (REFUSED, Verdict.REFUSED),
            (DecodeError("cut"), Verdict.DAMAGED),
            (NOT_HERE, Verdict.NOT_HERE),
            (FORBIDDEN, Verdict.FORBIDDEN),
            (GONE, Verdict.GONE),
            (SourceUnavailableError("away"), None),
            (InferenceError("GPU"), None),
            (ManifestError("another model"), None),
            (ConfigError("of this worker"), None),
            (ClassifierUnavailableError("away"), None),
            (RuntimeError("a defect"), Verdict.DEFECT),
            (MemoryError(), None),
            (OSError(24, "too many open files"), None),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
    )
    def test_what_an_error_says_of_the_stream(self, error: Exception, verdict: Verdict | None) -> None:
        assert verdict_of(error) is verdict


def live_source(error: Exception, *, is_known_good: bool, opens: Callable[[], bool] = lambda: False) -> LiveSource:
    return LiveSource(
        lambda: EndlessSource() if opens() else ClosedSource(error),
        backoff=Backoff(random.Random(0), base_seconds=0.01, cap_seconds=0.01),
        open_stall_seconds=5,
        read_stall_seconds=5,
        is_known_good=is_known_good,
    )


class TestLiveSources:
    """What this process forbids is said at once, so that another one can be asked."""

    @pytest.mark.parametrize("error", [NOT_HERE, FORBIDDEN], ids=["not here", "forbidden"])
    @pytest.mark.parametrize("is_known_good", [False, True])
    def test_before_it_was_open_here(self, error: EmostreamError, is_known_good: bool) -> None:
        with pytest.raises(SourceNotHereError), live_source(error, is_known_good=is_known_good):
            pass

    def test_after_it_was_open_here(self) -> None:
        numbers = itertools.count()

        class OneFrame(EndlessSource):
            def __iter__(self) -> Iterator[Frame]:
                yield next(super().__iter__())
                raise SourceUnavailableError("the connection was lost")

        def open_source() -> FrameSource:
            number = next(numbers)
            return ClosedSource(NOT_HERE) if number == 1 else OneFrame()

        source = LiveSource(
            open_source,
            backoff=Backoff(random.Random(0), base_seconds=0.01, cap_seconds=0.01),
            open_stall_seconds=5,
            read_stall_seconds=5,
        )
        with source:
            assert len(list(itertools.islice(source, 2))) == 2
        assert source.live_stats.num_failures == 2


class TestTrouble:
    """What a worker knows of itself."""

    def test_it_takes_nothing_for_longer_and_longer_until_it_was_well(self) -> None:
        now = 0.0
        trouble = Trouble(random.Random(1), clock=lambda: now)
        lengths = []
        for _ in range(12):
            trouble.came("a", do_others_run=False)
            trouble.came("b", do_others_run=False)  # with the first
            start = now
            while trouble.is_now:
                now += 0.5
            lengths.append(now - start)
        assert min(lengths) >= 1
        assert 20 < max(lengths) <= 60.5
        assert trouble.is_recent
        now += 61
        assert not trouble.is_recent
        trouble.came("a", do_others_run=False)
        now += 2.5
        assert not trouble.is_now

    def test_one_stream_beside_others_that_run_may_be_the_cause_itself(self) -> None:
        now = 0.0
        trouble = Trouble(random.Random(1), clock=lambda: now)
        for _ in range(20):
            trouble.came("a", do_others_run=True)
            assert not trouble.is_now
            now += 1
        now += 60
        trouble.came("b", do_others_run=True)
        assert not trouble.is_now
        trouble.came("c", do_others_run=True)
        assert trouble.is_now

    def test_what_does_not_go_away_needs_a_new_process(self) -> None:
        now = 0.0
        trouble = Trouble(random.Random(1), clock=lambda: now)

        def comes(num_times: int) -> None:
            nonlocal now
            for _ in range(num_times):
                trouble.came("a", do_others_run=False)
                now += 61

        comes(4)
        trouble.check()
        trouble.published()  # before the last one, perhaps
        comes(1)
        with pytest.raises(EmostreamError):
            trouble.check()
        trouble.published()
        trouble.published()
        trouble.check()
        comes(4)
        trouble.check()

    def test_steps_that_fail_or_do_not_end(self) -> None:
        now = 0.0
        watch = StepWatch(limit_seconds=30, clock=lambda: now)
        now = 29.0
        watch.check()
        watch.failed(KeyError("x"))
        now = 31.0
        with pytest.raises(EmostreamError, match="KeyError"):
            watch.check()
        watch.progressed()
        watch.check()
        now = 62.0
        with pytest.raises(EmostreamError, match="31 s"):
            watch.check()


pytestmark = pytest.mark.integration


async def is_failed(bench: Bench, stream_id: str) -> bool:
    return await bench.is_state(stream_id, StreamState.FAILED)


async def num_running(bench: Bench) -> int:
    return sum(status.state is StreamState.RUNNING for status in await bench.statuses())


def told(sinks: list[CollectingSink], state: StreamState) -> list[str]:
    return [event.stream_id for sink in sinks for event in sink.statuses if event.state is state]


@pytest.mark.parametrize("error", [NOT_HERE, FORBIDDEN, RuntimeError("defect")], ids=["mount", "settings", "defect"])
async def test_a_new_worker_with_other_settings_harms_no_running_stream(bench: Bench, error: Exception) -> None:
    sinks = [CollectingSink(), CollectingSink()]
    bench.start_worker("good", sink=sinks[0])
    names = [f"s{number}" for number in range(4)]
    for name in names:
        await bench.registry.create(live_record(name))

    async def all_run() -> bool:
        return await num_running(bench) == 4

    await until(all_run)
    bad = Sources(error)
    bench.start_worker("bad", sink=sinks[1], source_of=bad)

    async def it_tried() -> bool:
        return bad.num_asked >= 2

    await until(it_tried)
    await until(all_run)
    await asyncio.sleep(2)
    assert await all_run()
    owners = {lease.worker_id for lease in (await bench.look()).leases.values()}
    assert owners == {"good"}
    assert bad.num_asked <= 4, "each stream is moved to it once at most"
    assert told(sinks, StreamState.FAILED) == []
    assert await bench.store.hash_of(FINISHED) == {}


async def test_what_one_worker_cannot_run_another_one_takes_at_once(bench: Bench) -> None:
    bench.start_worker("bad", sink=CollectingSink(), source_of=Sources(NOT_HERE))
    await bench.registry.create(live_record())

    async def is_told() -> bool:
        status = await bench.status("door")
        return status.state is StreamState.PENDING and "the mount is missing" in status.detail

    await until(is_told)
    await asyncio.sleep(1)
    assert await is_told() or (await bench.status("door")).lease is not None, "one worker alone fails nothing"
    bench.start_worker("good", sink=CollectingSink())
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
    assert await bench.store.hash_of(FINISHED) == {}
    await bench.registry.remove("door")
    assert await bench.store.hash_of(VERDICTS) == {}


async def test_a_mount_that_comes_back(bench: Bench) -> None:
    sources = Sources(NOT_HERE)
    sink = CollectingSink()
    bench.start_worker("w1", sink=sink, source_of=sources)
    for record in (live_record(), file_record()):
        await bench.registry.create(record)

    async def is_tried() -> bool:
        return sources.num_asked >= 5

    await until(is_tried)
    sources.error = None
    await until(lambda: bench.is_state("clip", StreamState.ENDED))
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
    assert told([sink], StreamState.FAILED) == []

    async def is_withdrawn() -> bool:
        return "door" not in await bench.store.hash_of(VERDICTS)

    await until(is_withdrawn)


async def test_what_the_source_refuses_is_believed_when_two_heard_it(bench: Bench) -> None:
    first, second, sinks = Sources(REFUSED), Sources(REFUSED), [CollectingSink(), CollectingSink()]
    bench.start_worker("w1", sink=sinks[0], source_of=first)
    bench.start_worker("w2", sink=sinks[1], source_of=second)

    async def both_live() -> bool:
        return len((await bench.look()).workers) == 2

    await until(both_live)
    await bench.registry.create(live_record())
    await until(lambda: is_failed(bench, "door"))
    assert first.num_asked >= 1
    assert second.num_asked >= 1
    assert (await bench.status("door")).detail == str(REFUSED)

    async def is_told() -> bool:
        return told(sinks, StreamState.FAILED) == ["door"]

    await until(is_told)


@pytest.mark.parametrize("error", [REFUSED, GONE], ids=["refused", "gone"])
async def test_alone_a_worker_believes_what_is_plain(bench: Bench, error: Exception) -> None:
    bench.start_worker("w1", sink=CollectingSink(), source_of=Sources(error))
    await bench.registry.create(file_record())
    await until(lambda: is_failed(bench, "clip"))


async def test_an_engine_that_fails_for_a_while_fails_no_stream(bench: Bench) -> None:
    engine, parts, sink = BreakableClassifier(), ScriptedParts(Sources()), CollectingSink()
    parts.batcher = CropBatcher(engine, num_workers=1, max_batch_size=32)
    worker = bench.start_worker("w1", sink=sink, parts=parts)
    for number in range(3):
        await bench.registry.create(live_record(f"s{number}"))

    async def all_run() -> bool:
        published = {event.stream_id for event in sink.events}
        return await num_running(bench) == 3 and published >= {"s0", "s1", "s2"}

    await until(all_run)
    assert not worker.is_suspect
    engine.is_broken = True
    await bench.registry.create(file_record())

    async def none_runs() -> bool:
        return await num_running(bench) == 0 and worker.is_suspect

    await until(none_runs)

    async def says_so() -> bool:  # so that others count on less
        return (await bench.look()).workers["w1"].max_streams < 10

    await until(says_so)
    await asyncio.sleep(2)
    assert await bench.store.hash_of(FINISHED) == {}
    engine.is_broken = False
    sink.events.clear()
    await until(all_run, timeout_seconds=60)
    await until(lambda: bench.is_state("clip", StreamState.ENDED), timeout_seconds=60)
    assert told([sink], StreamState.FAILED) == []
    assert "CUDA failed" in {event.detail for event in sink.statuses if event.state is StreamState.PENDING}.pop()


async def test_others_take_the_streams_of_a_worker_whose_engine_is_broken(bench: Bench) -> None:
    engine, parts = BreakableClassifier(), ScriptedParts(Sources())
    engine.is_broken = True
    parts.batcher = CropBatcher(engine, num_workers=1, max_batch_size=32)
    bench.start_worker("broken", sink=CollectingSink(), parts=parts)
    good = CollectingSink()
    bench.start_worker("good", sink=good)
    names = {f"s{number}" for number in range(4)}
    for name in names:
        await bench.registry.create(live_record(name))

    async def all_are_with_the_good_one() -> bool:
        leases = (await bench.look()).leases
        return leases.keys() == names and {lease.worker_id for lease in leases.values()} == {"good"}

    await until(all_are_with_the_good_one)
    assert await bench.store.hash_of(FINISHED) == {}


async def test_a_batch_that_fails_is_computed_call_by_call() -> None:
    class PoisonedClassifier(ConstantClassifier):
        num_calls = 0

        def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            self.num_calls += 1
            if (crops == 255).any():
                raise InferenceError("cannot compute this")
            return super().classify(crops)

    engine = PoisonedClassifier()
    batcher = CropBatcher(engine, num_workers=1, max_batch_size=32, wanted_crops=32)
    size = engine.manifest.input_size_pixels
    crops = [np.full((2, size, size), 255 if number == 2 else number, np.uint8) for number in range(5)]
    answers = await asyncio.gather(
        *(batcher.classify(each, allow_batching_delay=True) for each in crops), return_exceptions=True
    )
    assert [isinstance(answer, InferenceError) for answer in answers] == [False, False, True, False, False]
    assert engine.num_calls > 5
    batcher.close()


async def test_a_failed_stream_is_tried_again_on_request(bench: Bench) -> None:
    sources = Sources(REFUSED)
    bench.start_worker("w1", sink=CollectingSink(), source_of=sources)
    await bench.registry.create(live_record())
    await until(lambda: is_failed(bench, "door"))
    sources.error = None
    await bench.registry.retry("door")
    assert (await bench.status("door")).state is not StreamState.FAILED
    with pytest.raises(NotFailedError):
        await bench.registry.retry("door")
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
    with pytest.raises(UnknownStreamError):
        await bench.registry.retry("nobody")
    await bench.registry.create(file_record())
    await until(lambda: bench.is_state("clip", StreamState.ENDED))
    with pytest.raises(NotFailedError):
        await bench.registry.retry("clip")


async def test_nothing_of_a_stream_or_a_worker_stays_behind(bench: Bench) -> None:
    bench.start_worker("w1", sink=CollectingSink(), source_of=Sources(NOT_HERE))
    await bench.registry.create(live_record())

    async def is_noted() -> bool:
        return bool(await bench.store.hash_of(VERDICTS)) and bool(await bench.store.hash_of(HOSTS))

    await until(is_noted)
    await bench.registry.remove("door")
    await bench.close()
    bench.workers.clear()
    for key in (VERDICTS, OPENINGS, HOSTS):
        assert await bench.store.hash_of(key) == {}


async def test_every_way_to_try_a_failed_stream_again(bench: Bench, redis_server: EmbeddedRedis) -> None:
    sources = Sources(REFUSED)
    bench.start_worker("w1", sink=CollectingSink(), source_of=sources)
    await bench.registry.create(live_record())

    async def fails_again() -> None:
        await until(lambda: is_failed(bench, "door"))

    async with served_api(load_settings(), redis_url=redis_server.url) as base, AsyncServiceClient(base) as client:
        plain = ServiceClient(base)
        await fails_again()
        assert (await client.retry("door")).id == "door"
        await fails_again()
        assert (await asyncio.to_thread(plain.retry, "door")).state is not StreamState.FAILED
        await fails_again()
        arguments = ("streams", "retry", "door", "--service", base, "--json")
        outcome = await asyncio.to_thread(run_emostream, *arguments)
        assert (outcome.code, json.loads(outcome.out)["id"]) == (0, "door")
        await fails_again()
        await bench.registry.create(live_record("hall"))
        await until(lambda: is_failed(bench, "hall"))
        all_failed = ("streams", "retry", "--failed", "--service", base, "--json")
        outcome = await asyncio.to_thread(run_emostream, *all_failed)
        assert (outcome.code, {stream["id"] for stream in json.loads(outcome.out)}) == (0, {"door", "hall"})
        for wrong in (("streams", "retry"), ("streams", "retry", "door", "--failed")):
            assert (await asyncio.to_thread(run_emostream, *wrong, "--service", base)).code == 2
        await fails_again()
        sources.error = None
        await client.retry("door")
        await until(lambda: bench.is_state("door", StreamState.RUNNING))
        for stream_id, status in (("door", 409), ("nobody", 404)):
            with pytest.raises(ApiError) as caught:
                await client.retry(stream_id)
            assert caught.value.status == status
        outcome = await asyncio.to_thread(run_emostream, *arguments)
        assert outcome.code == 1
        assert "door" in outcome.err


class DamagedSource(ScriptedSource):
    """A file that one worker can read to this frame only."""

    def __init__(self, num_frames: int) -> None:
        super().__init__(gray_frames(num_frames), error=DecodeError(f"damaged after {num_frames} frames"))


def by_kind(file_source: Callable[[], FrameSource]) -> Callable[[StreamSpec], FrameSource]:
    return lambda spec: EndlessSource() if spec.kind is StreamKind.LIVE else file_source()


async def test_a_file_that_one_worker_reads_badly_is_read_to_its_end_by_another(bench: Bench) -> None:
    sinks = [CollectingSink(), CollectingSink()]
    bench.start_worker("bad", sink=sinks[0], source_of=by_kind(lambda: DamagedSource(3)))
    bench.start_worker("good", sink=sinks[1], source_of=by_kind(lambda: ScriptedSource(gray_frames(5))))

    async def both_live() -> bool:
        return len((await bench.look()).workers) == 2

    await until(both_live)
    for number in range(4):
        await bench.registry.create(file_record(f"clip{number}"))

    async def all_are_over() -> bool:
        return all(status.state.is_final for status in await bench.statuses())

    await until(all_are_over)
    assert {status.state for status in await bench.statuses()} == {StreamState.ENDED}
    assert told(sinks, StreamState.FAILED) == []


async def test_a_file_that_two_workers_read_badly_is_damaged(bench: Bench) -> None:
    for name in ("w1", "w2"):
        bench.start_worker(name, sink=CollectingSink(), source_of=by_kind(lambda: DamagedSource(3)))

    async def both_live() -> bool:
        return len((await bench.look()).workers) == 2

    await until(both_live)
    await bench.registry.create(file_record())
    await until(lambda: is_failed(bench, "clip"))
    assert "damaged" in (await bench.status("clip")).detail


async def test_a_new_worker_that_opens_nothing_fails_no_file_in_progress(bench: Bench) -> None:
    """It is alone, as the only worker of a new release is for a moment."""
    old = bench.start_worker("old", sink=CollectingSink())
    await bench.registry.create(file_record())

    async def is_read() -> bool:
        report = (await bench.status("clip")).report
        return report is not None and report.num_frames > 0

    await until(is_read)
    new = Sources(REFUSED)
    await old.drain(timeout_seconds=5)
    sink = CollectingSink()
    bench.start_worker("new", sink=sink, source_of=new)

    async def it_says_why() -> bool:
        return new.num_asked >= 3 and str(REFUSED) in (await bench.status("clip")).detail

    await until(it_says_why)
    assert not (await bench.status("clip")).state.is_final
    new.error = None
    await until(lambda: bench.is_state("clip", StreamState.ENDED))


async def test_a_stream_that_no_worker_can_compute_holds_up_no_other(bench: Bench) -> None:
    """An engine that fails on the pictures of one stream is not broken."""

    class Poison(EndlessSource):
        def __iter__(self) -> Iterator[Frame]:
            return map(_white, super().__iter__())

    class Engine(ConstantClassifier):
        def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            if (crops > 200).any():
                raise InferenceError("cannot compute this")
            return super().classify(crops)

    parts = ScriptedParts(lambda spec: Poison() if spec.stream_id == "poison" else EndlessSource())
    parts.batcher = CropBatcher(Engine(), num_workers=1, max_batch_size=32)
    sink = CollectingSink()
    worker = bench.start_worker("w1", sink=sink, parts=parts)
    await bench.registry.create(live_record("good"))
    await until(lambda: bench.is_state("good", StreamState.RUNNING))

    async def is_published() -> bool:
        return len(sink.events) > 10

    await until(is_published)
    await bench.registry.create(live_record("poison"))

    async def is_told() -> bool:
        return told([sink], StreamState.PENDING).count("poison") >= 2

    await until(is_told)
    assert not worker.is_suspect
    worker.check()
    await bench.registry.create(live_record("new"))
    await until(lambda: bench.is_state("new", StreamState.RUNNING), timeout_seconds=5)
    assert not (await bench.status("poison")).state.is_final


def _white(frame: Frame) -> Frame:
    return replace(frame, luma=np.full_like(frame.luma, 255))


async def test_a_worker_whose_streams_all_fail_again_and_again_asks_for_a_new_process(bench: Bench) -> None:
    class Fast:
        """Time that runs faster, so that the pauses are short."""

        def __call__(self) -> float:
            return 60 * time.monotonic()

    engine, parts = BreakableClassifier(), ScriptedParts(Sources())
    engine.is_broken = True
    parts.batcher = CropBatcher(engine, num_workers=1, max_batch_size=32)
    sink = CollectingSink()
    worker = bench.start_worker("w1", sink=sink, parts=parts, clock=Fast())
    await bench.registry.create(live_record())

    async def is_unhealthy() -> bool:
        try:
            worker.check()
        except EmostreamError:
            return True
        return False

    await until(is_unhealthy)
    assert await bench.store.hash_of(FINISHED) == {}
    engine.is_broken = False

    async def is_well() -> bool:
        return not await is_unhealthy()

    await until(is_well)


async def test_a_key_of_another_kind_in_redis_harms_its_stream_alone(bench: Bench) -> None:
    await bench.store.redis.set(events_key("clip"), "written by another program")
    sources = {"door": Sources(NOT_HERE)}
    parts = ScriptedParts(lambda spec: sources.get(spec.stream_id, Sources())(spec))
    bench.start_worker("w1", sink=CollectingSink(), parts=parts)
    for record in (file_record(), file_record("other"), live_record(), live_record("hall")):
        await bench.registry.create(record)
    await bench.store.redis.hset(VERDICTS, "door", "no JSON")
    await until(lambda: bench.is_state("other", StreamState.ENDED))
    await until(lambda: bench.is_state("hall", StreamState.RUNNING))

    async def is_told() -> bool:
        status = await bench.status("clip")
        return status.state is StreamState.RECONNECTING and "WRONGTYPE" in status.detail

    await until(is_told)

    async def is_judged() -> bool:
        return b"not-here" in (await bench.store.hash_of(VERDICTS)).get("door", b"")

    await until(is_judged)
    await bench.store.redis.delete(events_key("clip"))
    await until(lambda: bench.is_state("clip", StreamState.ENDED))
