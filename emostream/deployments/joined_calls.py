"""Joins the crops of all streams of a worker into one call to the shared classifier.

A call costs its caller 3 to 4 ms of CPU time whatever it carries, more than a few crops computed at home.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emostream.vision.classify.classifier import Classified

Crops = npt.NDArray[np.uint8]

WINDOW_SECONDS = 0.02
"""How long crops of live streams wait for those of others: half a frame at 25 per second."""

_MAX_IN_FLIGHT = 4
"""Calls that wait for their answers. Further crops are gathered meanwhile, so that calls grow, not their number."""


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    crops: Crops
    answer: asyncio.Future[Classified]


class JoinedCalls:
    """Sends what arrives within a window as one array. For one event loop.

    Args:
        send: makes the call; several run at the same time.
        max_crops: of one call.
        is_due_to_crops: whether an error of a call may come from the crops of one stream: each is sent alone then.
        window_seconds: from the first crops of a call to the call.
    """

    def __init__(
        self,
        send: Callable[[Crops], Awaitable[Classified]],
        *,
        max_crops: int,
        is_due_to_crops: Callable[[Exception], bool],
        window_seconds: float = WINDOW_SECONDS,
    ) -> None:
        self._send = send
        self._max_crops = max_crops
        self._is_due_to_crops = is_due_to_crops
        self._window_seconds = window_seconds
        self._waiting: list[_Request] = []
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight: set[asyncio.Task[None]] = set()

    async def classify(self, crops: Crops, *, may_wait: bool) -> Classified:
        """The rows of these crops, at most `max_crops`.

        Args:
            crops: uint8, n×S×S, n ≥ 1.
            may_wait: whether to wait for crops of other streams.

        Raises:
            ModelError: as `send`.
        """
        loop = asyncio.get_running_loop()
        request = _Request(crops, loop.create_future())
        self._waiting.append(request)
        if not may_wait or sum(len(waiting.crops) for waiting in self._waiting) >= self._max_crops:
            self._start_calls()
        elif self._timer is None:
            self._timer = loop.call_later(self._window_seconds, self._start_calls)
        return await request.answer

    def _start_calls(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting = [request for request in self._waiting if not request.answer.done()]  # streams that ended
        while self._waiting and len(self._in_flight) < _MAX_IN_FLIGHT:
            call = asyncio.create_task(self._call(self._next_requests()))
            self._in_flight.add(call)
            call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._in_flight.discard(call)
        if self._timer is None:  # what waits has waited for its window already
            self._start_calls()

    def _next_requests(self) -> list[_Request]:
        requests: list[_Request] = []
        room = self._max_crops
        while self._waiting and (not requests or len(self._waiting[0].crops) <= room):
            requests.append(self._waiting.pop(0))
            room -= len(requests[-1].crops)
        return requests

    async def _call(self, requests: list[_Request]) -> None:
        crops = requests[0].crops if len(requests) == 1 else np.concatenate([request.crops for request in requests])
        try:
            answer = await self._send(crops)
        except Exception as exc:
            if len(requests) > 1 and self._is_due_to_crops(exc):
                await asyncio.gather(*(self._call([request]) for request in requests))
                return
            for request in requests:
                if not request.answer.done():
                    request.answer.set_exception(exc)
            return
        start = 0
        for request in requests:
            end = start + len(request.crops)
            share = answer.compute_seconds * len(request.crops) / len(crops)
            if not request.answer.done():
                request.answer.set_result(Classified(answer.probabilities[start:end], answer.wait_seconds, share))
            start = end
