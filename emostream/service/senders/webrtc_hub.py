"""All senders of a worker, in an event loop and thread of their own."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from types import TracebackType
from typing import Self

from emostream.config import WebRtcSettings
from emostream.publish.loop_thread import LoopThread
from emostream.service.senders.figures import SenderCounters
from emostream.service.senders.offer import Offer
from emostream.service.senders.ports import PortRangeLoop
from emostream.service.senders.refusal import RefusedError
from emostream.service.senders.waiting import WaitingSenders
from emostream.service.senders.webrtc_session import WebRtcSession


class WebRtcHub:
    """Accepts senders, and gives their pictures to the sources of their streams. A context manager.

    A stream has one sender: a new one takes the place of the one before it, which may have vanished without a word.

    Args:
        settings: limits and addresses.
        waiting: where the pictures wait for the sources of their streams.
        counters: to which each sender adds.
        stall_seconds: a sender that sends no picture for so long is ended.
    """

    def __init__(
        self, settings: WebRtcSettings, *, waiting: WaitingSenders, counters: SenderCounters, stall_seconds: float
    ) -> None:
        self._settings = settings
        self._stall_seconds = stall_seconds
        ports = None if settings.min_port is None else range(settings.min_port, (settings.max_port or 65535) + 1)
        self._thread = LoopThread("emostream-webrtc", make_loop=partial(PortRangeLoop, ports))
        self._sessions: dict[str, tuple[Offer, WebRtcSession]] = {}  # used in the loop only
        self._counters = counters
        self._waiting = waiting

    async def answer(self, offer: Offer) -> str:
        """Let a sender in; called in any event loop.

        Returns:
            The SDP answer.

        Raises:
            RefusedError: the offer is not accepted, or there are as many senders as are allowed.
        """
        return await asyncio.wrap_future(self._thread.submit(self._answer(offer)))

    async def end(self, stream_id: str, session_id: str) -> bool:
        """End a session as its sender asks; whether there was one. Called in any event loop."""
        return await asyncio.wrap_future(self._thread.submit(self._end(stream_id, session_id)))

    @property
    def num_sessions(self) -> int:
        """Senders that are let in."""
        return len(self._sessions)

    def has_sender(self, stream_id: str) -> bool:
        """Whether somebody sends to a stream. Called in any thread."""
        return any(offer.stream_id == stream_id for offer, _ in list(self._sessions.values()))

    def __enter__(self) -> Self:
        """The thread starts with the first sender."""
        library = logging.getLogger("aiortc")
        if library.level == logging.NOTSET:  # a line for each picture that cannot be decoded; they are counted
            library.setLevel(logging.ERROR)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End all sessions and the thread. May be called again."""
        self._thread.close(self._end_all() if self._sessions else None)

    async def _answer(self, offer: Offer) -> str:
        others = [other for other, _ in self._sessions.values() if other.stream_id != offer.stream_id]
        if len(others) >= self._settings.max_sessions:
            raise RefusedError(f"there are already {len(others)} senders (webrtc.max_sessions); try later", status=503)
        if Counter(other.owner for other in others)[offer.owner] >= self._settings.max_sessions_per_token:
            raise RefusedError("this token has too many senders (webrtc.max_sessions_per_token)", status=503)
        session = WebRtcSession(
            offer.stream_id,
            settings=self._settings,
            figures=self._counters.of(offer.stream_id),
            max_pixels=self._settings.max_pixels,
            stall_seconds=self._stall_seconds,
            on_ended=partial(self._ended, offer),
        )
        before = [old for other, old in self._sessions.values() if other.stream_id == offer.stream_id]
        self._sessions[offer.session_id] = (offer, session)
        try:
            answer = await session.answer(offer.sdp)
        except BaseException:
            await session.end("its offer was refused")
            raise
        for old in before:
            await old.end("another sender has taken its place")
        self._waiting.put(offer.stream_id, session.pictures)
        return answer

    async def _end(self, stream_id: str, session_id: str) -> bool:
        offer, session = self._sessions.get(session_id, (None, None))
        if session is None or offer is None or offer.stream_id != stream_id:
            return False
        await session.end("the sender has ended its session")
        return True

    async def _end_all(self) -> None:
        for _, session in list(self._sessions.values()):
            await session.end("the worker ends")

    def _ended(self, offer: Offer) -> None:
        _, session = self._sessions.pop(offer.session_id, (None, None))
        if session is not None:
            self._waiting.withdraw(offer.stream_id, session.pictures)
