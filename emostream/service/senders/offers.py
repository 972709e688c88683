"""Offers of senders on their way from the HTTP interface to the worker that owns the stream, and answers back.

Both pass through channels of Redis, which keep nothing: a description of a session holds its keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Protocol, Self

from emostream.errors import EmostreamError, PublishError
from emostream.publish.redis.connection import REDIS_ERRORS, translate
from emostream.service.registry.store import RegistryStore, registry_error
from emostream.service.senders.figures import OfferResult, SenderCounters
from emostream.service.senders.inlets import PictureInlets
from emostream.service.senders.offer import Offer
from emostream.service.senders.refusal import RefusedError
from emostream.wire.keys import offer_answer_channel, offers_channel

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0  # gathering addresses from STUN and TURN servers takes up to 5
_POLL_SECONDS = 1.0  # bound on one wait for a message; then the connection is looked after
_PAUSE_SECONDS = 1.0  # before Redis is tried again
_START_SECONDS = 3.0  # the worker has claimed the stream, and is about to start it
_MAX_AT_ONCE = 8


class Hub(Protocol):
    """What is asked of `WebRtcHub`."""

    async def answer(self, offer: Offer) -> str:
        """Let a sender in."""
        ...

    async def end(self, stream_id: str, session_id: str) -> bool:
        """End a session."""
        ...

    def has_sender(self, stream_id: str) -> bool:
        """Whether somebody sends to a stream."""
        ...


async def ask_for_answer(store: RegistryStore, offer: Offer, *, worker_id: str) -> str:
    """Have a worker accept an offer; gives its SDP answer.

    Raises:
        RefusedError: it does not, or does not answer.
        RegistryUnavailableError: Redis is away.
    """
    reply = await _ask(store, {"do": "answer", "offer": asdict(offer)}, worker_id=worker_id)
    return str(reply["sdp"])


async def ask_to_end(store: RegistryStore, *, stream_id: str, session_id: str, worker_id: str) -> bool:
    """Have a worker end a session; whether there was one. Errors as for `ask_for_answer`."""
    request = {"do": "end", "stream_id": stream_id, "session_id": session_id}
    return bool((await _ask(store, request, worker_id=worker_id))["has_ended"])


async def ask_to_begin(store: RegistryStore, *, stream_id: str, session_id: str, worker_id: str) -> None:
    """Have a worker receive the pictures of a sender. Errors as for `ask_for_answer`."""
    await _ask(store, {"do": "begin", "stream_id": stream_id, "session_id": session_id}, worker_id=worker_id)


async def _ask(store: RegistryStore, request: dict[str, Any], *, worker_id: str) -> dict[str, Any]:
    request_id = secrets.token_hex(16)
    listener: Any = store.redis.pubsub()
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await listener.subscribe(offer_answer_channel(request_id))
            while True:
                message = await listener.get_message(timeout=_POLL_SECONDS)
                if message is None:
                    continue
                if message["type"] == "subscribe":  # only now would the answer reach this process
                    content = json.dumps({"id": request_id, **request}).encode()
                    await store.publish(offers_channel(worker_id), content)
                elif message["type"] == "message":
                    return _checked(json.loads(message["data"]))
    except TimeoutError:
        # It may have accepted others meanwhile.
        raise RefusedError("the worker of this stream does not answer; try again", status=503, is_shared=True) from None
    except REDIS_ERRORS as exc:
        error = translate(exc, url="the registry")
        raise registry_error(error) if isinstance(error, PublishError) else error from exc
    finally:
        await listener.aclose()


def _checked(reply: dict[str, Any]) -> dict[str, Any]:
    if "refusal" in reply:
        raise RefusedError(str(reply["refusal"]), status=int(reply["status"]), is_shared=bool(reply.get("is_shared")))
    return reply


class OfferDesk:
    """Answers offers for the streams of a worker while it is entered.

    Args:
        store: connection to the registry; not closed.
        hub: lets senders in by WebRTC; None lets none in. Not closed.
        inlets: receives single pictures; not closed.
        worker_id: whose streams.
        counters: in which answers are counted.
        is_ready: whether a stream runs here and waits for a sender.
    """

    def __init__(
        self,
        store: RegistryStore,
        *,
        hub: Hub | None,
        inlets: PictureInlets,
        worker_id: str,
        counters: SenderCounters,
        is_ready: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._hub = hub
        self._inlets = inlets
        self._worker_id = worker_id
        self._offers = counters.offers
        self._is_ready = is_ready
        self._places = asyncio.Semaphore(_MAX_AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()
        self._asking: Counter[str] = Counter()  # by stream, those that want to send and have no answer yet
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._listening = asyncio.create_task(self._listen(), name=f"offers for {self._worker_id}")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Answer no more."""
        tasks = [task for task in (self._listening, *self._answering) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _listen(self) -> None:
        while True:
            listener: Any = self._store.redis.pubsub(ignore_subscribe_messages=True)
            try:
                await listener.subscribe(offers_channel(self._worker_id))
                while True:
                    message = await listener.get_message(timeout=_POLL_SECONDS)
                    if message is not None:
                        task = asyncio.create_task(self._handle(message["data"]))
                        self._answering.add(task)
                        task.add_done_callback(self._answering.discard)
            except REDIS_ERRORS as exc:
                logger.info("worker %s: cannot listen for senders now: %s", self._worker_id, exc)
                await asyncio.sleep(_PAUSE_SECONDS)
            finally:
                with contextlib.suppress(*REDIS_ERRORS):
                    await listener.aclose()

    async def _handle(self, content: bytes) -> None:
        if self._places.locked():  # the interface tells the sender to try again
            self._offers[OfferResult.LATER] += 1
            return
        async with self._places:
            request = json.loads(content)
            stream_id = str(request["offer"]["stream_id"] if request["do"] == "answer" else request["stream_id"])
            result = OfferResult.ACCEPTED
            self._asking[stream_id] += 1
            try:
                reply = await self._reply_to(request)
            except RefusedError as exc:
                reply = {"refusal": str(exc), "status": exc.status}
                result = OfferResult.LATER if exc.status == 503 else OfferResult.REFUSED
            except Exception:  # a bug in one answer must not end the desk
                logger.exception("worker %s: cannot answer an offer", self._worker_id)
                reply = {"refusal": "the worker cannot answer; see its log", "status": 500}
                result = OfferResult.FAILED
            finally:
                self._asking[stream_id] -= 1
                if not self._asking[stream_id]:
                    del self._asking[stream_id]
            if "refusal" in reply:
                reply["is_shared"] = self._is_shared(stream_id)
            if request["do"] != "end":
                self._offers[result] += 1
            try:
                await self._store.publish(offer_answer_channel(str(request["id"])), json.dumps(reply).encode())
            except EmostreamError as exc:
                logger.info("worker %s: an answer to a sender was lost: %s", self._worker_id, exc)

    def _is_shared(self, stream_id: str) -> bool:
        """Whether others send to a stream, or have asked for it."""
        has_sender = self._inlets.has_sender(stream_id) or (self._hub is not None and self._hub.has_sender(stream_id))
        return has_sender or stream_id in self._asking

    async def _reply_to(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "begin":
            await self._until_ready(str(request["stream_id"]))
            await self._inlets.begin(str(request["stream_id"]), str(request["session_id"]))
            return {}
        if self._hub is None:
            raise RefusedError("this worker lets no senders in by WebRTC; enable webrtc.enabled", status=503)
        if request["do"] == "end":
            return {"has_ended": await self._hub.end(str(request["stream_id"]), str(request["session_id"]))}
        offer = Offer(**request["offer"])
        await self._until_ready(offer.stream_id)
        return {"sdp": await self._hub.answer(offer)}

    async def _until_ready(self, stream_id: str) -> None:
        """Wait until a stream runs here. Raises `RefusedError`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                while not self._is_ready(stream_id):
                    await asyncio.sleep(0.05)
        if not self._is_ready(stream_id):
            raise RefusedError(f"stream {stream_id} does not run on its worker yet; try again", status=503)
