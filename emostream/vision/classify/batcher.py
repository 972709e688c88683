"""Gathers crops from all streams of a process into batches for one classifier."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from emostream.domain.model_manifest import ModelManifest
from emostream.vision.classify.classifier import Classified, EmotionClassifier, EngineInfo, engine_info

MIN_WINDOW_SECONDS = 0.002
"""A shorter wait gathers nothing: handing work to another thread takes about this long."""
MAX_WINDOW_SECONDS = 0.030
"""A longer wait would add noticeably to the latency of an event."""

# Weight of a new arrival in the moving average: about the last ten arrivals count.
_WEIGHT_OF_NEW = 0.1


class ArrivalWindow:
    """Chooses how long a batch waits for more crops, from the rate at which crops arrive.

    The window is the time in which `wanted_crops` arrive, clamped to 2…30 ms. When fewer than two crops would arrive in
    the longest window, waiting gains nothing and the shortest is used. Time is a parameter; not thread-safe.

    Args:
        wanted_crops: a batch of this size is worth waiting for; larger batches are hardly cheaper per crop.
    """

    def __init__(self, *, wanted_crops: int) -> None:
        if wanted_crops < 1:
            raise ValueError(f"expected wanted_crops ≥ 1, got {wanted_crops}")
        self._wanted_crops = wanted_crops
        self._mean_interval_seconds: float | None = None
        self._last_arrival_seconds: float | None = None

    def arrived(self, num_crops: int, *, now_seconds: float) -> None:
        """Record an arrival.

        Args:
            num_crops: how many crops arrived, at least 1.
            now_seconds: monotonic time.
        """
        last, self._last_arrival_seconds = self._last_arrival_seconds, now_seconds
        if last is None:
            return
        # A pause says little about the rate while there is work, so it counts as one second at most.
        interval = min(max(now_seconds - last, 0.0), 1.0) / num_crops
        mean = self._mean_interval_seconds
        self._mean_interval_seconds = interval if mean is None else mean + _WEIGHT_OF_NEW * (interval - mean)

    @property
    def seconds(self) -> float:
        """How long the next batch waits for more crops, counted from its first one."""
        interval = self._mean_interval_seconds
        if interval is None or 2 * interval > MAX_WINDOW_SECONDS:
            return MIN_WINDOW_SECONDS
        return min(max(self._wanted_crops * interval, MIN_WINDOW_SECONDS), MAX_WINDOW_SECONDS)


@dataclass(slots=True)
class BatchStats:
    """Counters of a running batcher.

    Attributes:
        num_batches: batches computed.
        num_crops: crops in them.
        wait_seconds: sum over requests, from their arrival to the start of their batch.
        compute_seconds: sum over batches.
        batch_sizes: batch size → number of batches.
    """

    num_batches: int = 0
    num_crops: int = 0
    wait_seconds: float = 0.0
    compute_seconds: float = 0.0
    batch_sizes: dict[int, int] = field(default_factory=dict)

    def add_batch(self, num_crops: int, *, wait_seconds: float, compute_seconds: float) -> None:
        """Count one batch.

        Args:
            num_crops: crops in it.
            wait_seconds: sum over its requests.
            compute_seconds: time of its inference.
        """
        self.num_batches += 1
        self.num_crops += num_crops
        self.wait_seconds += wait_seconds
        self.compute_seconds += compute_seconds
        self.batch_sizes[num_crops] = self.batch_sizes.get(num_crops, 0) + 1


@dataclass(slots=True, eq=False)
class _Request:
    crops: npt.NDArray[np.uint8]
    is_urgent: bool
    arrived_seconds: float
    answer: asyncio.Future[Classified]
    probabilities: npt.NDArray[np.float32]  # filled part by part
    num_taken: int = 0
    num_done: int = 0
    wait_seconds: float = 0.0
    compute_seconds: float = 0.0

    @property
    def num_left(self) -> int:
        return len(self.crops) - self.num_taken

    def take(self, num_crops: int) -> _Part:
        """Take the next `num_crops` crops as a part of a batch."""
        part = _Part(self, slice(self.num_taken, self.num_taken + num_crops))
        self.num_taken += num_crops
        return part


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    request: _Request
    rows: slice

    def __len__(self) -> int:
        return int(self.rows.stop - self.rows.start)

    @property
    def crops(self) -> npt.NDArray[np.uint8]:
        return self.request.crops[self.rows]

    @property
    def is_first(self) -> bool:
        return bool(self.rows.start == 0)

    @property
    def is_unwanted(self) -> bool:
        """Whether the result is no longer needed: the caller was cancelled, or another part of its request failed."""
        return self.request.answer.done()

    def done(self, probabilities: npt.NDArray[np.float32], *, started: float, seconds: float) -> None:
        """Store the probabilities of these rows; the last part completes the request."""
        request = self.request
        request.probabilities[self.rows] = probabilities
        request.num_done += len(self)
        request.compute_seconds += seconds
        if self.is_first:
            request.wait_seconds = started - request.arrived_seconds
        if request.num_done == len(request.crops) and not request.answer.done():
            request.answer.set_result(Classified(request.probabilities, request.wait_seconds, request.compute_seconds))


class CropBatcher:
    """A `SharedClassifier` that runs an engine in this process. All pipelines of one event loop share it.

    A batch starts when it is full, when its window has passed, or at once when it contains a request that must not
    wait. Requests keep their order and none is dropped. A request larger than a batch (a crowd) is computed in parts,
    alternating with other requests, so that none of them waits for all of it. Backpressure comes from the pipelines:
    each has at most three requests here. Several batches run at once, one per worker, so that all cores are used.

    Args:
        classifier: thread-safe; closed with the batcher.
        num_workers: batches computed at the same time, each in its own thread.
        max_batch_size: a batch of this many crops is full.
        wanted_crops: a batch of this size is worth waiting for. 1 means that larger batches gain nothing, so that
            requests never wait while a worker is free.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        classifier: EmotionClassifier,
        *,
        num_workers: int,
        max_batch_size: int,
        wanted_crops: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stats = BatchStats()
        self._classifier = classifier
        self._executor = ThreadPoolExecutor(num_workers, thread_name_prefix="emostream-classify")
        self._max_batch_size = max_batch_size
        self._clock = clock
        self._window = ArrivalWindow(wanted_crops=wanted_crops) if wanted_crops > 1 else None
        self._waiting: deque[_Request] = deque()
        self._num_waiting_crops = 0
        self._free_workers = num_workers
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def manifest(self) -> ModelManifest:
        """The contract of the model."""
        return self._classifier.manifest

    @property
    def engine_info(self) -> EngineInfo:
        """What computes the model."""
        return engine_info(self._classifier)

    async def classify(self, crops: npt.NDArray[np.uint8], *, allow_batching_delay: bool) -> Classified:
        """See `SharedClassifier.classify`."""
        if len(crops) == 0:
            return Classified(np.empty((0, len(self.manifest.labels)), np.float32), 0.0, 0.0)
        now = self._clock()
        if self._window is not None:
            self._window.arrived(len(crops), now_seconds=now)
        answer: asyncio.Future[Classified] = asyncio.get_running_loop().create_future()
        probabilities = np.empty((len(crops), len(self.manifest.labels)), np.float32)
        self._waiting.append(_Request(crops, not allow_batching_delay, now, answer, probabilities))
        self._num_waiting_crops += len(crops)
        self._start_what_is_due()
        return await answer

    def close(self) -> None:
        """Wait for running batches, then release the engine. No request may be pending."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._classifier.close()

    def _start_what_is_due(self) -> None:
        while self._waiting and self._free_workers:
            due_in = self._seconds_until_due()
            if due_in > 0:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(due_in, self._timer_fired)
                return
            self._free_workers -= 1
            task = asyncio.create_task(self._run(self._next_batch()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _timer_fired(self) -> None:
        self._timer = None
        self._start_what_is_due()

    def _seconds_until_due(self) -> float:
        is_full = self._num_waiting_crops >= self._max_batch_size
        if self._window is None or is_full or any(request.is_urgent for request in self._waiting):
            return 0.0
        oldest_seconds = min(request.arrived_seconds for request in self._waiting)
        return oldest_seconds + self._window.seconds - self._clock()

    def _next_batch(self) -> list[_Part]:
        """The oldest requests that fit into one batch. A request larger than a batch gives a part and is requeued."""
        room = self._max_batch_size
        if self._waiting[0].num_left > room:
            batch = [self._waiting[0].take(room)]
            self._waiting.rotate(-1)
        else:
            batch = []
            while self._waiting and self._waiting[0].num_left <= room:
                request = self._waiting.popleft()
                batch.append(request.take(request.num_left))
                room -= len(batch[-1])
        self._num_waiting_crops -= sum(map(len, batch))
        return batch

    async def _run(self, batch: list[_Part]) -> None:
        wanted = [part for part in batch if not part.is_unwanted]
        try:
            if wanted and await self._compute(wanted) is not None:
                # An error of the whole batch may be due to one request, or transient: try each part on its own.
                for part in wanted:
                    if not part.is_unwanted and (exc := await self._compute([part])) is not None:
                        part.request.answer.set_exception(exc)
        finally:
            self._free_workers += 1
            self._start_what_is_due()

    async def _compute(self, wanted: list[_Part]) -> Exception | None:
        """Compute a batch and store its results. Returns the error when it failed."""
        started = self._clock()
        crops = wanted[0].crops if len(wanted) == 1 else np.concatenate([part.crops for part in wanted])
        try:
            loop = asyncio.get_running_loop()
            probabilities = await loop.run_in_executor(self._executor, self._classifier.classify, crops)
            self._answer(wanted, probabilities, started=started, seconds=self._clock() - started)
        except Exception as exc:
            return exc
        return None

    def _answer(
        self, batch: list[_Part], probabilities: npt.NDArray[np.float32], *, started: float, seconds: float
    ) -> None:
        size, row = len(probabilities), 0
        waits = sum(started - part.request.arrived_seconds for part in batch if part.is_first)
        self.stats.add_batch(size, wait_seconds=waits, compute_seconds=seconds)
        for part in batch:
            rows = probabilities[row : row + len(part)]
            part.done(rows, started=started, seconds=seconds * len(part) / size)
            row += len(part)
