"""The same as `service.py` for code with an event loop; needs httpx (`pip install 'emostream[client]'`)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from emostream.client.http import calls
from emostream.client.http.calls import ApiError, Call, checked_url, error_of, headers_for
from emostream.client.http.server_sent import ServerSentEvents
from emostream.domain.event import EmotionEvent
from emostream.domain.redact import redact, shown_address
from emostream.domain.stream import StreamState
from emostream.errors import ConfigError, ServiceUnavailableError
from emostream.publish.retry import retry_delays
from emostream.vision.models.manifest import ModelManifest
from emostream.wire.http_models import Readiness, StreamView
from emostream.wire.job_models import FileView, JobView
from emostream.wire.preview import PreviewPicture

try:
    import httpx
except ImportError as exc:
    raise ConfigError("AsyncServiceClient needs httpx: pip install 'emostream[client]'") from exc

T = TypeVar("T")

_POLL_SECONDS = 0.5
_IDLE_SECONDS = 20.0  # the service writes at least every 5 s
_SERVICE_UNAVAILABLE = 503


class AsyncServiceClient:
    """An async context manager with the methods, arguments and errors of `ServiceClient`.

    Args:
        url: of the service, for example `http://localhost:8000`.
        token: bearer token, where the service asks for one.
        timeout_seconds: bound on waiting for an answer.
        transport: replaces the network, for tests.

    Raises:
        ConfigError: the URL is not one of HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_seconds: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = checked_url(url)
        self._client = httpx.AsyncClient(
            base_url=self._url, headers=headers_for(token), timeout=timeout_seconds, transport=transport
        )

    async def __aenter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def add(self, url: str, *, stream_id: str | None = None, **options: Any) -> StreamView:
        """See `ServiceClient.add`."""
        return await self.send(calls.add_stream(url, stream_id=stream_id, options=options))

    async def show(self, stream_id: str) -> StreamView:
        """One stream and how it is doing."""
        return await self.send(calls.show_stream(stream_id))

    async def streams(self, *, state: StreamState | None = None, prefix: str = "") -> AsyncIterator[StreamView]:
        """See `ServiceClient.streams`."""
        cursor: str | None = None
        while True:
            page = await self.send(calls.list_page(cursor=cursor, state=state, prefix=prefix))
            for view in page.streams:
                yield view
            if (cursor := page.next_cursor) is None:
                return

    async def change(self, stream_id: str, **changes: Any) -> StreamView:
        """See `ServiceClient.change`."""
        return await self.send(calls.change_stream(stream_id, changes))

    async def retry(self, stream_id: str) -> StreamView:
        """See `ServiceClient.retry`."""
        return await self.send(calls.retry_stream(stream_id))

    async def remove(self, stream_id: str) -> None:
        """Ask for a stream no more; its events stay."""
        await self.send(calls.remove_stream(stream_id))

    async def wait_for(self, stream_id: str, *states: StreamState, timeout_seconds: float) -> StreamView:
        """See `ServiceClient.wait_for`."""
        deadline = time.monotonic() + timeout_seconds
        while (view := await self.show(stream_id)).state not in states:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"stream {stream_id} is {view.state.value} after {timeout_seconds:g} s: {view.detail}"
                )
            await asyncio.sleep(_POLL_SECONDS)
        return view

    async def events(
        self, stream_id: str, *, start: str = "now", max_retry_seconds: float = 30.0
    ) -> AsyncGenerator[EmotionEvent, None]:
        """See `ServiceClient.events`; leave it by `contextlib.aclosing` where it is not read to its end."""
        reading = ServerSentEvents()
        failed_seconds: float | None = None
        delays = retry_delays()
        while not reading.is_over:
            try:
                async with contextlib.aclosing(self._read_events(stream_id, reading, start=start)) as found:
                    async for event in found:
                        failed_seconds, delays = None, retry_delays()
                        yield event
            except (ServiceUnavailableError, ApiError) as exc:
                if isinstance(exc, ApiError) and exc.status != _SERVICE_UNAVAILABLE:
                    raise
                if failed_seconds is None or reading.is_answered:  # it was there until now, with nothing to say
                    failed_seconds = time.monotonic()
                if time.monotonic() - failed_seconds > max_retry_seconds:
                    raise
                await asyncio.sleep(next(delays))

    async def add_job(self, url: str, *, job_id: str, **options: Any) -> JobView:
        """See `ServiceClient.add_job`."""
        return await self.send(calls.add_job(url, job_id=job_id, options=options))

    async def job(self, job_id: str) -> JobView:
        """One job and how far it is."""
        return await self.send(calls.show_job(job_id))

    async def jobs(self) -> list[JobView]:
        """All jobs, by id."""
        return await self.send(calls.list_jobs())

    async def job_files(self, job_id: str) -> AsyncIterator[FileView]:
        """See `ServiceClient.job_files`."""
        start: int | None = 0
        while start is not None:
            page = await self.send(calls.list_job_files(job_id, start=start))
            for view in page.files:
                yield view
            start = page.next_start

    async def wait_for_job(self, job_id: str, *, timeout_seconds: float) -> JobView:
        """See `ServiceClient.wait_for_job`."""
        deadline = time.monotonic() + timeout_seconds
        while not (view := await self.job(job_id)).done:
            if time.monotonic() > deadline:
                raise TimeoutError(calls.late_job(view, timeout_seconds=timeout_seconds))
            await asyncio.sleep(_POLL_SECONDS)
        return view

    async def remove_job(self, job_id: str) -> None:
        """Ask for a job no more; the events of its files stay."""
        await self.send(calls.remove_job(job_id))

    async def classify(self, picture: bytes | Path | str) -> EmotionEvent:
        """See `ServiceClient.classify`."""
        content = await asyncio.to_thread(picture.read_bytes) if isinstance(picture, Path) else picture
        return await self.send(calls.classify_picture(content))

    async def preview(self, stream_id: str, *, boxes: bool = True, blur: bool = False) -> PreviewPicture:
        """The next picture of a running stream."""
        return await self.send(calls.preview(stream_id, boxes=boxes, blur=blur))

    async def models(self) -> list[ModelManifest]:
        """What classifies the faces."""
        return await self.send(calls.list_models())

    async def readiness(self) -> Readiness:
        """See `ServiceClient.readiness`."""
        return await self.send(calls.readiness())

    async def send(self, call: Call[T]) -> T:
        """One call and what its answer means."""
        headers = {} if call.body is None else {"Content-Type": call.content_type}
        with self._translated():
            response = await self._client.request(call.method, call.path, content=call.body, headers=headers)
        if response.is_error:
            raise error_of(response.status_code, response.content)
        return call.parse(response.content, {name.lower(): value for name, value in response.headers.items()})

    async def _read_events(
        self, stream_id: str, reading: ServerSentEvents, *, start: str
    ) -> AsyncGenerator[EmotionEvent, None]:
        reading.begin()
        headers = {"Last-Event-ID": reading.last_id} if reading.last_id else {}
        path = calls.events_path(stream_id, start=start)
        with self._translated():
            async with self._client.stream("GET", path, headers=headers, timeout=_IDLE_SECONDS) as response:
                if response.is_error:
                    raise error_of(response.status_code, await response.aread())
                async for data in response.aiter_raw():
                    for event in reading.take(data):
                        yield event
        if not reading.is_over:
            raise ServiceUnavailableError(f"the service at {shown_address(self._url)} ended the connection")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as exc:
            raise ServiceUnavailableError(
                f"the service at {shown_address(self._url)} cannot be reached: "
                f"{redact(str(exc)) or type(exc).__name__}; is `emostream serve` running?"
            ) from exc
