"""A stream worker: claims streams by leases, runs them, reports on them, and releases them when it ends."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

from emostream.decode.backoff import Backoff
from emostream.decode.blocked_calls import BLOCKED_CALLS, BlockedCalls
from emostream.domain.redact import redact
from emostream.domain.stream import StreamState
from emostream.errors import (
    ConfigError,
    EmostreamError,
    PublishError,
    RecordError,
    RegistryError,
    RegistryUnavailableError,
)
from emostream.service.registry.jobs import JobRegistry
from emostream.service.registry.leases import Heartbeat, StreamLeases
from emostream.service.registry.placement import RebalanceDelay, files_capacity, place
from emostream.service.registry.records import RegistryView, StreamRecord, StreamReport, read_report, record_from_json
from emostream.service.registry.store import RECORDS, REPORTS, RegistryStore
from emostream.service.verdicts import Judges, Verdicts, are_final, verdict_of
from emostream.service.worker.crash_guard import MAX_DEATHS, CrashGuard, Opening
from emostream.service.worker.file_progress import FileProgress
from emostream.service.worker.host import Ended, Outcome, StopReason, StreamHost
from emostream.service.worker.trouble import StepWatch, Trouble

logger = logging.getLogger(__name__)

_REPORT_SECONDS = 1.0
_MAX_STARTS_AT_ONCE = 32
_MAX_STEP_SECONDS = 60.0
_MAX_BLOCKED_CALLS = 48  # three of each of 16 sources, which LiveSource leaves behind without a pause
_BLOCKED_SECONDS = 30.0  # most calls that were left behind end with a time-out of FFmpeg
_BEATS_FOR_OTHERS = 4  # a released stream is left to other workers for at least this many heartbeats


@dataclass(slots=True)
class _Retry:
    """A stream whose lease is kept here until it is restarted."""

    epoch: int
    due_seconds: float


@dataclass(slots=True)
class _Runs:
    """The runs of a stream on this worker."""

    backoff: Backoff
    started_seconds: float
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """The load, as used for autoscaling.

    Attributes:
        num_streams: streams of this worker.
        num_wanted: streams of the whole service that need a worker, with the files of jobs that wait for room.
        is_overloaded: whether it dropped frames of live sources in the last second and has more than one stream.
    """

    num_streams: int = 0
    num_wanted: int = 0
    is_overloaded: bool = False


class StreamWorker:
    """A stream worker. Await `run` once; it returns after `drain`. All methods must be called on one event loop.

    Args:
        store: connection to the registry; not closed.
        leases: of this worker.
        host: runs the streams.
        worker_id: as in `leases`.
        heartbeat_seconds: interval of heartbeats; a fraction of the leases' duration.
        host_name: of the worker's machine; None means this machine.
        blocked_calls: calls into sources that were left behind in this process.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: RegistryStore,
        *,
        leases: StreamLeases,
        host: StreamHost,
        worker_id: str,
        heartbeat_seconds: float,
        host_name: str | None = None,
        blocked_calls: BlockedCalls = BLOCKED_CALLS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.worker_id = worker_id
        self.load = WorkerLoad()
        """As of the last heartbeat."""
        self._store = store
        self._jobs = JobRegistry(store)
        self._crash_guard = CrashGuard(store, worker_id=worker_id, host=host_name, clock=clock)
        self._progress = FileProgress(store, leases=leases)
        self._verdicts = Verdicts(store, worker_id=worker_id)
        self._refusals: dict[str, Judges] = {}  # of all workers, as of the last time that a stream was free
        self._avoided: dict[str, float] = {}  # stream id → until when it is left to other workers
        self._leases = leases
        self._blocked_calls = blocked_calls
        self._host = host
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._is_draining = asyncio.Event()
        self._retries: dict[str, _Retry] = {}
        self._runs: dict[str, _Runs] = {}
        self._unreported: dict[str, Ended] = {}  # ended streams that are not in the registry yet
        # Not for security: it spreads retries.
        self._trouble = Trouble(random.Random(), clock=clock)  # noqa: S311
        self._watch = StepWatch(clock=clock)
        self._stopping: set[asyncio.Task[None]] = set()
        self._to_release: dict[str, int] = {}  # stopped streams, with their epochs
        self._releasing = asyncio.Lock()
        self._stepping = asyncio.Lock()
        self._starting: dict[str, int] = {}  # claimed streams that the host does not have yet, with their epochs
        self._beating = asyncio.Lock()
        self._beat_seconds = float("-inf")  # when the last heartbeat began
        self._step_seconds = float("-inf")  # when the last step began
        self._is_new_generation = False  # as a heartbeat between two steps saw
        self._rebalance_delay = RebalanceDelay(lease_seconds=leases.ttl_seconds)
        self._reported_seconds = float("-inf")
        self._is_registry_away = False
        self._num_dropped = 0
        self._num_frames: dict[str, int] = {}  # of each stream, as of the last report

    @property
    def is_suspect(self) -> bool:
        """Whether it had problems recently, so that its models should be checked."""
        return self._trouble.is_recent

    def check(self) -> None:
        """Check that the worker makes progress.

        Raises:
            EmostreamError: its steps failed or did not finish for a while, its streams fail again and again because of
                it, or many calls into sources do not return; a new process may help.
        """
        if not self._is_draining.is_set():
            self._watch.check()
            self._trouble.check()
            num_blocked = self._blocked_calls.count(min_seconds=_BLOCKED_SECONDS)
            if num_blocked > max(_MAX_BLOCKED_CALLS, self._leases.max_streams):
                raise EmostreamError(f"{num_blocked} calls into sources do not return; only a new process ends them")

    async def run(self) -> None:
        """Work until `drain` is called. Streams continue while the registry is unavailable."""
        renewing = asyncio.create_task(self._renew_in_long_steps(), name=f"leases of {self.worker_id}")
        try:
            await self._run_steps()
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _renew_in_long_steps(self) -> None:
        """Renew the leases while a step takes longer than the interval of heartbeats, however many streams it starts
        and however far Redis is. Lost streams are passed to the next step again."""
        while not self._is_draining.is_set():
            await asyncio.sleep(self._heartbeat_seconds)
            now_seconds = self._clock()
            is_hung = now_seconds - self._step_seconds > _MAX_STEP_SECONDS  # others take its streams
            if is_hung or now_seconds - self._beat_seconds < self._heartbeat_seconds or self._beating.locked():
                continue
            try:
                beat = await self._heartbeat()
                self._is_new_generation = self._is_new_generation or beat.is_new_generation
                self._leases.stats.num_lost -= len(beat.lost)  # counted when the step hears of them
            except EmostreamError as exc:
                logger.info("worker %s: cannot renew its leases during a step: %s", self.worker_id, exc)
            except Exception:
                logger.exception("worker %s: internal error while it renewed its leases", self.worker_id)

    async def _heartbeat(self, *, is_draining: bool = False) -> Heartbeat:
        async with self._beating:
            self._beat_seconds = self._clock()
            return await self._leases.heartbeat(self._held(), is_draining=is_draining or self._is_draining.is_set())

    async def _run_steps(self) -> None:
        while not self._is_draining.is_set():
            try:
                async with self._stepping:
                    await self._step()
                self._registry_answered()
                self._watch.progressed()
            except (
                RegistryError,
                PublishError,
                ConfigError,
            ) as exc:  # a refused login may be accepted again
                self._registry_failed(exc)
                self._watch.progressed()
            except Exception as exc:  # a bug in one step must not end all streams
                logger.exception("worker %s: internal error in a step", self.worker_id)
                self._watch.failed(exc)
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._is_draining.wait()
            except TimeoutError:
                continue

    async def drain(self, *, timeout_seconds: float) -> None:
        """Release all streams and sign off. Streams that do not stop in time are fenced off by their epochs.

        Each stream may be claimed by others as soon as it has stopped, however long the others take.
        """
        self._is_draining.set()
        for stream_id in self._host.held:
            self._stop(stream_id, StopReason.MOVED)
        try:
            async with asyncio.timeout(timeout_seconds):
                async with self._stepping:  # a step that is in progress starts no more streams
                    await self._say_draining()
                await asyncio.gather(*self._stopping, return_exceptions=True)
        except TimeoutError:
            logger.warning("worker %s: some streams did not stop within %g s", self.worker_id, timeout_seconds)
        try:
            await self._crash_guard.close()
            await self._leases.release(self._held())
            await self._leases.sign_off()
        except EmostreamError as exc:
            logger.warning("worker %s could not sign off; its leases will expire: %s", self.worker_id, exc)

    async def _say_draining(self) -> None:
        """Announce the end, so that others no longer count on this worker and may take more than their share."""
        try:
            await self._heartbeat(is_draining=True)
            await self._leases.release({stream_id: retry.epoch for stream_id, retry in self._retries.items()})
            self._retries.clear()
        except EmostreamError as exc:
            self._registry_failed(exc)

    def _held(self) -> dict[str, int]:
        waiting = {stream_id: retry.epoch for stream_id, retry in self._retries.items()}
        ended = {stream_id: it.report.epoch for stream_id, it in self._unreported.items()}
        return self._starting | ended | waiting | self._host.held

    async def _step(self) -> None:
        self._limit_itself()
        self._step_seconds = self._clock()
        beat = await self._heartbeat()
        is_new_generation, self._is_new_generation = beat.is_new_generation or self._is_new_generation, False
        self._rebalance_delay.note(
            beat.view.workers.keys(),
            was_away=self._is_registry_away and not is_new_generation,
            now_seconds=self._clock(),
        )
        for stream_id in beat.lost:
            self._retries.pop(stream_id, None)
            self._unreported.pop(stream_id, None)
            self._stop(stream_id, StopReason.LOST)
        self._follow_records(beat.view)
        self._host.show_previews(beat.view.previews)
        self._host.end_blocked()
        await self._settle_ended(beat.view)
        self._limit_itself()
        await self._crash_guard.settle(self._host.reports())
        await self._restart_due(beat.view)
        if not self._rebalance_delay.are_awaited:
            await self._place(beat.view)
        await self._report(beat.view)

    def _limit_itself(self) -> None:
        """Take no streams after a problem; other workers see the limit and take them."""
        self._leases.limit(len(self._held()) if self._trouble.is_now else None)

    def _follow_records(self, view: RegistryView) -> None:
        """Stop streams that are no longer wanted, and change those with another record."""
        for stream_id in self._host.held:
            record = view.records.get(stream_id)
            if record is None:  # unreadable records are left to other workers
                self._stop(stream_id, StopReason.MOVED if stream_id in view.unreadable else StopReason.REMOVED)
            elif record != self._host.record_of(stream_id) and not self._host.adjust(record):
                self._stop(stream_id, StopReason.CHANGED)
        for stream_id, retry in list(self._retries.items()):
            if self._is_over(stream_id, retry.epoch, view):
                del self._retries[stream_id]
                self._background(self._leases.release({stream_id: retry.epoch}))
        for stream_id, runs in list(self._runs.items()):
            if self._is_over(stream_id, runs.epoch, view):
                del self._runs[stream_id]
                self._avoided.pop(stream_id, None)

    def _is_over(self, stream_id: str, epoch: int, view: RegistryView) -> bool:
        """Whether the stream of this run was deleted; one that was created again under its id does not wait for it."""
        record = view.records.get(stream_id)
        return record is None or record.created_epoch > epoch

    async def _settle_ended(self, view: RegistryView) -> None:
        """Report streams that ended on their own, and retry or release them.

        Everything is stored locally before Redis is used, so that nothing is lost while it is unavailable.
        """
        for stream_id, ended in self._host.take_ended().items():
            if ended.outcome is not Outcome.DEPOSED:
                self._note_ended(stream_id, ended)
        for stream_id, ended in list(self._unreported.items()):
            if ended.outcome is Outcome.GIVE_BACK and ended.verdict is not None:
                self._unreported[stream_id] = await self._judged(stream_id, ended, view)
        await self._leases.report({stream_id: ended.report for stream_id, ended in self._unreported.items()})
        given_back = {
            stream_id: ended.report.epoch
            for stream_id, ended in self._unreported.items()
            if ended.outcome is Outcome.GIVE_BACK
        }
        await self._leases.release(given_back)
        if self._unreported:
            self._reported_seconds = float("-inf")  # so that jobs continue at once
        told, self._unreported = self._unreported, {}
        for stream_id, ended in told.items():
            if ended.outcome is not Outcome.ENDED:  # the pipeline published that
                await self._host.tell(ended.report, stream_id=stream_id)

    def _note_ended(self, stream_id: str, ended: Ended) -> None:
        now_seconds = self._clock()
        if ended.outcome is Outcome.ENDED:
            self._trouble.published()
        elif ended.outcome is Outcome.RETRY:
            due_seconds = now_seconds + self._delay_seconds(stream_id, ended.report)
            self._retries[stream_id] = _Retry(ended.report.epoch, due_seconds)
        elif ended.outcome is Outcome.GIVE_BACK:
            delay_seconds = self._delay_seconds(stream_id, ended.report)
            for_others_seconds = _BEATS_FOR_OTHERS * self._heartbeat_seconds
            self._avoided[stream_id] = now_seconds + max(delay_seconds, for_others_seconds)
            if ended.is_own_trouble:
                self._trouble.came(stream_id, do_others_run=self._do_others_run(stream_id))
        self._unreported[stream_id] = ended

    def _do_others_run(self, stream_id: str) -> bool:
        reports = self._host.reports()
        return any(report.measured_fps > 0 for other, report in reports.items() if other != stream_id)

    async def _judged(self, stream_id: str, ended: Ended, view: RegistryView) -> Ended:
        """Decide about a stream that this worker cannot run, considering the verdicts of other workers."""
        record = view.records.get(stream_id)
        if ended.verdict is None or record is None:
            return ended
        judges = await self._verdicts.add(stream_id, ended.verdict, epoch=ended.report.epoch)
        is_final = are_final(
            judges,
            worker_id=self.worker_id,
            workers=view.workers.values(),
            kind=record.spec.kind,
            has_worked=ended.report.has_worked,
        )
        if not is_final:
            return ended
        return replace(ended, outcome=Outcome.FAILED, report=replace(ended.report, state=StreamState.FAILED))

    def _delay_seconds(self, stream_id: str, report: StreamReport) -> float:
        runs = self._runs_of(stream_id, epoch=report.epoch)
        ran_for_seconds = self._clock() - runs.started_seconds if report.num_frames else 0.0
        return runs.backoff.next_delay_seconds(ran_for_seconds=ran_for_seconds)

    def _runs_of(self, stream_id: str, *, epoch: int) -> _Runs:
        # Not for security: it spreads restarts.
        runs = self._runs.setdefault(stream_id, _Runs(Backoff(random.Random()), self._clock()))  # noqa: S311
        runs.epoch = epoch
        return runs

    async def _restart_due(self, view: RegistryView) -> None:
        due = [stream_id for stream_id, retry in self._retries.items() if retry.due_seconds <= self._clock()]
        epochs = await self._leases.claim(due)
        for stream_id in epochs:
            del self._retries[stream_id]
        await self._start_all(epochs, living=view.workers)

    async def _place(self, view: RegistryView) -> None:
        # Streams that are no longer wanted are being stopped; they must not displace others.
        owned = [stream_id for stream_id in self._held() if stream_id in view.records]
        now_seconds = self._clock()
        self._avoided = {name: until for name, until in self._avoided.items() if until > now_seconds}
        if view.free_ids():
            self._refusals = await self._verdicts.all()
        placement = place(view, worker_id=self.worker_id, owned=owned, refusals=self._refusals, avoided=self._avoided)
        await self._start_all(await self._leases.claim(placement.claim), living=view.workers)
        for stream_id in placement.give_back:
            retry = self._retries.pop(stream_id, None)
            if retry is not None:
                await self._leases.release({stream_id: retry.epoch})
            self._stop(stream_id, StopReason.MOVED)

    async def _start_all(self, epochs: Mapping[str, int], *, living: Collection[str]) -> None:
        """Start claimed streams, several at once: each asks the registry some things before.

        Raises:
            RegistryUnavailableError: it did not answer all of them; these streams were released.
        """
        if not epochs:
            return
        places = asyncio.Semaphore(_MAX_STARTS_AT_ONCE)

        async def start(stream_id: str, epoch: int) -> None:
            async with places:
                try:
                    await self._start(stream_id, epoch=epoch, living=living)
                finally:
                    del self._starting[stream_id]

        self._starting.update(epochs)
        calls = [start(stream_id, epoch) for stream_id, epoch in epochs.items()]
        results = await asyncio.gather(*calls, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _start(self, stream_id: str, *, epoch: int, living: Collection[str]) -> None:
        """Start a claimed stream, or release it."""
        last: StreamReport | None = None
        try:
            last = read_report(await self._store.field_of(REPORTS, stream_id))
            has_worked = last is not None and last.has_worked
            opening = await self._crash_guard.begin(stream_id, living=living, has_worked=has_worked)
            if opening is Opening.LATER:
                await self._open_later(stream_id, epoch=epoch, last=last)
                return
            record = await self._wanted(stream_id, epoch=epoch)
            if record is not None and opening is Opening.NEVER:
                self._note_ended(stream_id, Ended(Outcome.FAILED, _given_up(epoch, self.worker_id)))
                return
            after = None if record is None else await self._progress.resume_point(record, epoch=epoch, report=last)
            if record is None or self._is_draining.is_set():  # draining may have started; nothing would stop it then
                await self._leases.release({stream_id: epoch})
                return
            self._host.start(
                record,
                epoch=epoch,
                after=after,
                has_worked=has_worked,
                on_first_picture=self._crash_guard.opened,
            )
            self._runs_of(stream_id, epoch=epoch).started_seconds = self._clock()
            self._watch.progressed()
            logger.info("stream %s starts in epoch %d", stream_id, epoch, extra={"stream_id": stream_id})
        except RegistryUnavailableError:
            await self._leases.release({stream_id: epoch})
            raise
        except Exception as exc:  # one stream's problem must not keep others from starting
            self._refuse(stream_id, exc, epoch=epoch, last=last)

    def _refuse(self, stream_id: str, exc: Exception, *, epoch: int, last: StreamReport | None) -> None:
        """Report a stream that could not be started."""
        detail = redact(str(exc))
        if isinstance(exc, EmostreamError):
            logger.warning("stream %s: %s", stream_id, exc, extra={"stream_id": stream_id})
        else:
            logger.error("stream %s: internal error", stream_id, exc_info=exc)
            detail = f"internal error: {type(exc).__name__}: {detail}"
        # What Redis refuses for one stream (its key holds something else) is no fault of this worker.
        is_passing = isinstance(exc, RegistryError) or (isinstance(exc, EmostreamError) and exc.retryable)
        state = StreamState.RECONNECTING if is_passing else StreamState.PENDING
        report = self._not_started(last, state, detail, epoch=epoch)
        outcome, verdict = Outcome.RETRY if is_passing else Outcome.GIVE_BACK, verdict_of(exc)
        is_own_trouble = outcome is Outcome.GIVE_BACK and verdict is None
        self._note_ended(stream_id, Ended(outcome, report, verdict, is_own_trouble=is_own_trouble))

    async def _open_later(self, stream_id: str, *, epoch: int, last: StreamReport | None) -> None:
        pause_seconds = self._crash_guard.pause_seconds(stream_id)
        due_seconds = self._clock() + max(self._heartbeat_seconds, pause_seconds)
        self._retries[stream_id] = _Retry(epoch, due_seconds)
        if pause_seconds > self._heartbeat_seconds:
            detail = (
                "workers died while they opened it; it will be opened again, on its own, when this worker has run for "
                f"another {math.ceil(pause_seconds)} s"
            )
            report = self._not_started(last, StreamState.RECONNECTING, detail, epoch=epoch)
            await self._leases.report({stream_id: report})

    def _not_started(self, last: StreamReport | None, state: StreamState, detail: str, *, epoch: int) -> StreamReport:
        """The report on a run that could not begin yet; `last` is that of the run before."""
        return replace(
            last or StreamReport(state),
            state=state,
            detail=detail,
            last_error=detail,
            worker_id=self.worker_id,
            epoch=epoch,
            num_frames=0,
            num_faces=0,
            last_index=-1,
        )

    async def _wanted(self, stream_id: str, *, epoch: int) -> StreamRecord | None:
        """The current record; None when it was removed, is unreadable, or was created after the claim."""
        found = await self._store.field_of(RECORDS, stream_id)
        try:
            record = None if found is None else record_from_json(found)
        except RecordError:
            return None
        return None if record is None or record.created_epoch > epoch else record

    async def _report(self, view: RegistryView) -> None:
        if self._clock() - self._reported_seconds < _REPORT_SECONDS:
            return
        self._reported_seconds = self._clock()
        reports = self._host.reports()
        num_dropped = sum(report.num_dropped for report in reports.values())
        self.load = WorkerLoad(
            num_streams=len(reports),
            num_wanted=len(view.unfinished_ids()) + self._jobs.num_waiting,
            is_overloaded=len(reports) > 1 and num_dropped > self._num_dropped,
        )
        self._num_dropped = num_dropped
        if any(report.num_frames > self._num_frames.get(name, 0) for name, report in reports.items()):
            self._trouble.published()
        self._num_frames = {name: report.num_frames for name, report in reports.items()}
        await self._leases.report({name: report for name, report in reports.items() if not report.state.is_final})
        await self._withdraw_verdicts(reports)
        await self._jobs.feed(max_streams=files_capacity(view))

    async def _withdraw_verdicts(self, reports: Mapping[str, StreamReport]) -> None:
        """Withdraw verdicts about streams that run on this worker after all."""
        for stream_id, report in reports.items():
            judges = self._refusals.get(stream_id, {})
            if report.num_frames and self.worker_id in judges:
                await self._verdicts.withdraw(stream_id, epoch=report.epoch)
                self._refusals[stream_id] = {name: said for name, said in judges.items() if name != self.worker_id}

    def _stop(self, stream_id: str, reason: StopReason) -> None:
        """Stop in the background, so that heartbeats continue, and then release the lease."""
        epoch = self._host.held.get(stream_id)
        if epoch is None:
            return

        async def stop() -> None:
            await self._host.stop(stream_id, reason)
            if reason is not StopReason.LOST and stream_id not in self._host.held:
                await self._release(stream_id, epoch=epoch)

        self._background(stop())

    async def _release(self, stream_id: str, *, epoch: int) -> None:
        """Release a lease, together with those of other streams that stop meanwhile."""
        self._to_release[stream_id] = epoch
        async with self._releasing:
            batch, self._to_release = self._to_release, {}
            if batch:
                await self._leases.release(batch)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._stopping.add(task)
        task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self._stopping.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.warning("worker %s: %s; the lease will expire", self.worker_id, exc)

    def _registry_failed(self, exc: Exception) -> None:
        if not self._is_registry_away:
            logger.warning("worker %s: %s; its streams continue", self.worker_id, exc)
        self._is_registry_away = True

    def _registry_answered(self) -> None:
        if self._is_registry_away:
            logger.warning("worker %s: the registry is available again", self.worker_id)
        self._is_registry_away = False


def _given_up(epoch: int, worker_id: str) -> StreamReport:
    detail = (
        f"{MAX_DEATHS} workers died while they opened it, so its video probably crashes the decoder; it will not be "
        "opened again unless you request it (emostream streams retry)"
    )
    return StreamReport(StreamState.FAILED, detail, worker_id, epoch, last_error=detail)
