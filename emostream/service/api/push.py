"""Pictures that are sent to the service over a WebSocket, where WebRTC cannot be used; each gets its event back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from emostream.config import ServiceSettings
from emostream.decode.pushed_picture import check_pushed_picture
from emostream.domain.event import EmotionEvent
from emostream.errors import EmostreamError, RecordError, SourceError
from emostream.publish.redis.reader import RedisReader
from emostream.service.api.client_places import ClientPlaces, Place
from emostream.service.api.context import ApiContext
from emostream.service.api.hosts import HostNames
from emostream.service.api.problems import problem, status_of_error
from emostream.service.api.tokens import Tokens, allows
from emostream.service.api.whip import have_pushed_stream, owner_of
from emostream.service.senders.offers import ask_to_begin
from emostream.service.senders.refusal import RefusedError
from emostream.wire.keys import pictures_channel
from emostream.wire.pushed import HEAD_BYTES, at_from_message, bytes_from_pushed

CREDIT = 2
"""Pictures that may be on their way at once: one is processed while the next one travels."""

SUBPROTOCOL = "emostream"
_TOKEN_PREFIX = "bearer."  # noqa: S105  # browsers can send a token in no header but that of subprotocols
_ANSWER_SECONDS = 2.0  # a picture without an event by then was dropped
_CHECK_SECONDS = 0.25
_CHECKS_PER_LOOK = 8
_SEND_SECONDS = 10.0  # a client that does not take its answers is ended


class _Refused(Exception):  # noqa: N818  # it is an answer
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def add_push(app: FastAPI, *, tokens: Tokens, service: ServiceSettings) -> None:
    """The path `/v1/streams/{id}/push`."""
    has_any_name = tokens.are_needed and not service.allowed_hosts
    names = None if has_any_name else HostNames(service.allowed_hosts)
    places = ClientPlaces(service.max_pushed_streams, per_client=service.max_pushed_streams)

    @app.websocket("/v1/streams/{stream_id}/push")
    async def push(websocket: WebSocket, stream_id: str) -> None:
        """Send pictures to a stream. The limits of other requests do not see WebSockets, so they are applied here."""
        if not service.max_pushed_streams:
            await _deny(websocket, 403, "pictures are not let in; the operator can set service.max_pushed_streams")
            return
        try:
            _check_origin(websocket, names=names, allowed=service.allowed_origins)
            token = _check_token(websocket, tokens)
        except _Refused as exc:
            await _deny(websocket, exc.status, str(exc))
            return
        entry = None if token is None else tokens.find(token)
        client = entry.sha256 if entry is not None else str(websocket.client.host if websocket.client else "unknown")
        with contextlib.ExitStack() as stack:
            if stack.enter_context(places.asked_for(client)) is not Place.TAKEN:
                await _deny(websocket, 503, "too many senders of pictures (service.max_pushed_streams); try later")
                return
            withdrawn = asyncio.Event() if entry is None else stack.enter_context(tokens.used(entry))
            context: ApiContext = websocket.app.state.context
            session = _PushSession(websocket, context, stream_id, withdrawn=withdrawn)
            try:
                is_new = await have_pushed_stream(context, stream_id, owner="" if entry is None else entry.name)
                try:
                    await session.begin()
                except RefusedError as exc:
                    if is_new and not exc.is_shared:
                        await context.registry.remove(stream_id)
                    raise
            except EmostreamError as exc:
                await _deny(websocket, exc.status if isinstance(exc, RefusedError) else status_of_error(exc), str(exc))
                return
            await session.run()


class _PushSession:
    """One connection: pictures to the worker of a stream, and their events back."""

    def __init__(self, websocket: WebSocket, context: ApiContext, stream_id: str, *, withdrawn: asyncio.Event) -> None:
        self._websocket = websocket
        self._context = context
        self._stream_id = stream_id
        self._withdrawn = withdrawn
        self._session_id = secrets.token_urlsafe(24)
        self._worker_id = ""
        self._start = "start"
        self._on_their_way: dict[datetime, tuple[float, float]] = {}  # captured → time of the client, sent when
        self._next: tuple[float, bytes] | None = None  # beyond the credit; the newest one
        self._last_at = -1.0
        self._last_captured = datetime.min.replace(tzinfo=UTC)
        self._sending = asyncio.Lock()

    async def begin(self) -> None:
        """Find the worker. Raises `RefusedError`, `RegistryUnavailableError`."""
        self._worker_id = await owner_of(self._context, self._stream_id)
        ends = await self._context.store.ends_of_events(self._stream_id)
        self._start = "start" if ends is None else ends[1]
        await self._begin_at_worker()

    async def _begin_at_worker(self) -> None:
        await ask_to_begin(
            self._context.store, stream_id=self._stream_id, session_id=self._session_id, worker_id=self._worker_id
        )

    async def run(self) -> None:
        """Serve the client until one side ends."""
        offered = self._websocket.scope.get("subprotocols", [])
        await self._websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        code, reason = 1000, ""
        tasks: list[asyncio.Task[tuple[int, str]]] = []
        try:
            await self._tell({"credit": CREDIT})
            tasks = [asyncio.create_task(work()) for work in (self._receive, self._answer, self._watch)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            code, reason = next(iter(done)).result()
        except (WebSocketDisconnect, TimeoutError):
            code = 0
        except EmostreamError as exc:
            code, reason = 1011, str(exc)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            with contextlib.suppress(EmostreamError):
                await self._context.store.publish(pictures_channel(self._session_id), b"")
            if code:
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the client was quicker
                    await self._websocket.close(code, reason[:100])

    async def _receive(self) -> tuple[int, str]:
        max_bytes = self._context.settings.service.max_body_bytes
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            content = message.get("bytes")
            if content is None:
                return 1003, "expected binary messages: 8 bytes with the time, then the picture"
            if len(content) > max_bytes:
                return 1009, f"a message has more than {max_bytes} bytes (service.max_body_bytes)"
            try:
                at = at_from_message(content)
            except RecordError as exc:
                return 1003, str(exc)
            await self._take(at, content)

    async def _take(self, at: float, content: bytes) -> None:
        try:
            if at <= self._last_at:
                raise RecordError(f"expected a time after that of the last picture ({self._last_at:g} s)")
            max_pixels = self._context.settings.decode.max_frame_pixels
            check_pushed_picture(content[HEAD_BYTES:], max_pixels=max_pixels)
        except (RecordError, SourceError) as exc:
            await self._tell({"at": at, "error": str(exc)})
            return
        self._last_at = at
        if len(self._on_their_way) < CREDIT:
            await self._pass_on(at, content)
            return
        before, self._next = self._next, (at, content)  # the newest wins
        if before is not None:
            await self._tell({"at": before[0], "dropped": True})

    async def _pass_on(self, at: float, content: bytes) -> None:
        captured_at = max(datetime.now(UTC), self._last_captured + timedelta(microseconds=1))
        self._last_captured = captured_at
        self._on_their_way[captured_at] = (at, time.monotonic())
        message = bytes_from_pushed(content, captured_at=captured_at)
        await self._context.store.publish(pictures_channel(self._session_id), message)

    async def _answer(self) -> tuple[int, str]:
        reader = RedisReader(
            self._context.settings.publish,
            redis_url=self._context.redis_url,
            stream_ids=[self._stream_id],
            start=self._start,
        )
        try:
            async for batch in reader.batches():
                for entry in batch:
                    if isinstance(entry.event, EmotionEvent) and entry.event.captured_at in self._on_their_way:
                        await self._answered(entry.event)
        finally:
            await reader.close()
        return 1011, "no more events"

    async def _answered(self, event: EmotionEvent) -> None:
        for captured_at in [other for other in self._on_their_way if other < event.captured_at]:
            await self._dropped(captured_at)
        answered = self._on_their_way.pop(event.captured_at, None)
        if answered is not None:
            await self._tell({"at": answered[0], "event": event.to_dict()})
        await self._go_on()

    async def _dropped(self, captured_at: datetime) -> None:
        dropped = self._on_their_way.pop(captured_at, None)
        if dropped is not None:
            await self._tell({"at": dropped[0], "dropped": True})

    async def _go_on(self) -> None:
        if self._next is not None and len(self._on_their_way) < CREDIT:
            (at, content), self._next = self._next, None
            await self._pass_on(at, content)

    async def _watch(self) -> tuple[int, str]:
        """Give up what is not answered, follow the stream to another worker, and notice its end."""
        for number in itertools.count():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._withdrawn.wait()
            if self._withdrawn.is_set():
                return 1008, "the token was withdrawn"
            late = time.monotonic() - _ANSWER_SECONDS
            for captured_at in [name for name, (_, sent) in self._on_their_way.items() if sent < late]:
                await self._dropped(captured_at)
            await self._go_on()
            if number % _CHECKS_PER_LOOK:
                continue
            view = await self._context.look()
            if self._stream_id not in view.records or self._stream_id in view.finished:
                return 1001, "the stream was deleted or has ended"
            lease = view.owner_of(self._stream_id)
            if lease is not None and lease.worker_id != self._worker_id:
                with contextlib.suppress(RefusedError):  # it is about to start it: try again
                    self._worker_id, before = lease.worker_id, self._worker_id
                    try:
                        await self._begin_at_worker()
                    except BaseException:
                        self._worker_id = before
                        raise
        return 1000, ""

    async def _tell(self, content: dict[str, Any]) -> None:
        async with asyncio.timeout(_SEND_SECONDS), self._sending:
            await self._websocket.send_text(json.dumps(content, separators=(",", ":")))


def _check_token(websocket: WebSocket, tokens: Tokens) -> str | None:
    """The token of the header, or of a subprotocol `bearer.TOKEN`; None where none is needed."""
    if not tokens.are_needed:
        return None
    scheme, _, token = websocket.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        offered = websocket.scope.get("subprotocols", [])
        token = next((name.removeprefix(_TOKEN_PREFIX) for name in offered if name.startswith(_TOKEN_PREFIX)), "")
    entry = tokens.find(token.strip())
    if entry is None:
        raise _Refused(401, "a valid bearer token is required")
    if not allows(entry, "write"):
        raise _Refused(403, f"the token {entry.name!r} may not write: it lacks this scope")
    return token.strip()


def _check_origin(websocket: WebSocket, *, names: HostNames | None, allowed: tuple[str, ...]) -> None:
    """Refuse other web pages, which browsers do not keep from WebSockets, and other names of this service."""
    host = websocket.headers.get("host", "")
    if names is not None and not names.are_ours(host):
        raise _Refused(421, "the request is for another host name; the operator can add it to service.allowed_hosts")
    origin = websocket.headers.get("origin")
    if origin is not None and _place_in(origin) != host.lower() and origin.lower() not in allowed:
        raise _Refused(403, "this web page may not connect; the operator can add it to service.allowed_origins")


def _place_in(origin: str) -> str | None:
    """Host and port; None where it names none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


async def _deny(websocket: WebSocket, status: int, detail: str) -> None:
    """Refuse the connection with a problem, where the server can send one, else without a reason."""
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "2"}}.get(status)
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(problem(status, detail, headers=headers))
    else:
        await websocket.close(1008, detail[:100])
