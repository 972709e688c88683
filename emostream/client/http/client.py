"""A running service from Python: streams, events, pictures."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx
import httpx_sse

from emostream.client.http import calls
from emostream.client.http.calls import ApiError, Call, Page, checked_url, error_of, headers_for
from emostream.domain.address import parse_address
from emostream.domain.event import EmotionEvent
from emostream.domain.redact import redact, shown_address
from emostream.errors import ConfigError, ServiceUnavailableError
from emostream.publish.retry import retry_delays
from emostream.wire.events import event_from_json

P = ParamSpec("P")
T = TypeVar("T")

_POLL_SECONDS = 0.5
_IDLE_SECONDS = 20.0  # the service writes at least every 5 s
_KEPT_SECONDS = 2.0  # a connection that is not used for longer may be closed by the server just as a call is sent
_PASSING = (429, 502, 503, 504)  # too much to do, or a server in front that does not reach the service

# --- one method for each call -----------------------------------------------------------------------------------------


def _sent(make: Callable[P, Call[T]]) -> Callable[Concatenate[ServiceClient, P], T]:
    def method(self: ServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(make(*args, **kwargs))

    return _named_as(make, method)


def _listed(make: Callable[P, Call[Page[T]]]) -> Callable[Concatenate[ServiceClient, P], Iterator[T]]:
    def method(self: ServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        call: Call[Page[T]] | None = make(*args, **kwargs)
        while call is not None:
            page = self.send(call)
            yield from page.items
            call = page.rest

    return _named_as(make, method)


_Result = Coroutine[Any, Any, T]


def _sent_async(make: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncServiceClient, P], _Result[T]]:
    async def method(self: AsyncServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(make(*args, **kwargs))

    return _named_as(make, method)


def _listed_async(make: Callable[P, Call[Page[T]]]) -> Callable[Concatenate[AsyncServiceClient, P], AsyncIterator[T]]:
    async def method(self: AsyncServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        call: Call[Page[T]] | None = make(*args, **kwargs)
        while call is not None:
            page = await self.send(call)
            for item in page.items:
                yield item
            call = page.rest

    return _named_as(make, method)


Method = TypeVar("Method", bound=Callable[..., Any])


def _named_as(make: Callable[..., Any], method: Method) -> Method:
    """The method with name, arguments and documentation of its call, for `help()` and editors."""
    signature = inspect.signature(make)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    described: Any = method
    described.__name__, described.__doc__ = make.__name__, make.__doc__
    described.__signature__ = signature.replace(
        parameters=[itself, *signature.parameters.values()], return_annotation=inspect.Signature.empty
    )
    return method


# --- the clients ------------------------------------------------------------------------------------------------------


class ServiceClient:
    """Calls the HTTP interface; a context manager, which closes the connections.

    The methods are described in `emostream.client.http.calls`. Each raises `ApiError` where the service refuses
    (`status` is the HTTP status, the message its reason) and `ServiceUnavailableError` where the service does not
    answer.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        options = _options(url, token=token, timeout_seconds=timeout_seconds)
        with _explained():
            self._http = httpx.Client(**options, transport=transport)
        weakref.finalize(self, self._http.close)  # a client for a single call need not be closed

    add = _sent(calls.add)
    show = _sent(calls.show)
    streams = _listed(calls.streams)
    change = _sent(calls.change)
    retry = _sent(calls.retry)
    remove = _sent(calls.remove)
    wait_for = _sent(calls.wait_for)
    add_job = _sent(calls.add_job)
    job = _sent(calls.job)
    jobs = _sent(calls.jobs)
    job_files = _listed(calls.job_files)
    wait_for_job = _sent(calls.wait_for_job)
    remove_job = _sent(calls.remove_job)
    classify = _sent(calls.classify)
    preview = _sent(calls.preview)
    models = _sent(calls.models)
    history = _sent(calls.history)
    workers = _sent(calls.workers)
    readiness = _sent(calls.readiness)

    def events(
        self, stream_id: str, *, start: str = "now", max_retry_seconds: float = 30.0
    ) -> Generator[EmotionEvent, None, None]:
        """The events of a stream as they are published, until the stream is over.

        A lost connection is opened again, and reading goes on after the last event.

        Args:
            stream_id: of the stream.
            start: "now", "start" (the oldest kept), or an entry id.
            max_retry_seconds: give up when the service is away for longer.
        """
        reading = _Reading(stream_id, start=start, max_retry_seconds=max_retry_seconds)
        while True:
            try:
                with (
                    _translated(self._http),
                    httpx_sse.connect_sse(self._http, "GET", reading.path, **reading.request()) as source,
                ):
                    if not source.response.is_success:
                        source.response.read()
                    reading.begin(source.response)
                    for received in source.iter_sse():
                        yield from reading.take(received)
                        if reading.is_over:
                            return
                raise _cut(self._http)
            except (ServiceUnavailableError, ApiError) as exc:
                time.sleep(reading.pause_after(exc))

    def send(self, call: Call[T]) -> T:
        """Send a call of `emostream.client.http.calls`, and return the result that its answer means."""
        body = call.body.read_bytes() if isinstance(call.body, Path) else call.body
        deadline = time.monotonic() + call.wait_seconds
        while True:
            with _translated(self._http):
                response = self._http.request(call.method, call.path, content=body, headers=_content_type(call))
            result = _result(call, response)
            if not (late := call.late(result)):
                return result
            if time.monotonic() > deadline:
                raise TimeoutError(late)
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Connections are opened by the first call."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the connections."""
        self.close()


class AsyncServiceClient:
    """`ServiceClient` for programs with an event loop: an async context manager with the same methods and errors."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_seconds: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        options = _options(url, token=token, timeout_seconds=timeout_seconds)
        with _explained():
            self._http = httpx.AsyncClient(**options, transport=transport)

    add = _sent_async(calls.add)
    show = _sent_async(calls.show)
    streams = _listed_async(calls.streams)
    change = _sent_async(calls.change)
    retry = _sent_async(calls.retry)
    remove = _sent_async(calls.remove)
    wait_for = _sent_async(calls.wait_for)
    add_job = _sent_async(calls.add_job)
    job = _sent_async(calls.job)
    jobs = _sent_async(calls.jobs)
    job_files = _listed_async(calls.job_files)
    wait_for_job = _sent_async(calls.wait_for_job)
    remove_job = _sent_async(calls.remove_job)
    classify = _sent_async(calls.classify)
    preview = _sent_async(calls.preview)
    models = _sent_async(calls.models)
    history = _sent_async(calls.history)
    workers = _sent_async(calls.workers)
    readiness = _sent_async(calls.readiness)

    async def events(
        self, stream_id: str, *, start: str = "now", max_retry_seconds: float = 30.0
    ) -> AsyncGenerator[EmotionEvent, None]:
        """As `ServiceClient.events`; leave it by `contextlib.aclosing` where it is not read to its end."""
        reading = _Reading(stream_id, start=start, max_retry_seconds=max_retry_seconds)
        while True:
            try:
                async with contextlib.AsyncExitStack() as stack:
                    stack.enter_context(_translated(self._http))
                    connecting = httpx_sse.aconnect_sse(self._http, "GET", reading.path, **reading.request())
                    source = await stack.enter_async_context(connecting)
                    if not source.response.is_success:
                        await source.response.aread()
                    reading.begin(source.response)
                    async for received in await stack.enter_async_context(contextlib.aclosing(source.aiter_sse())):
                        for event in reading.take(received):
                            yield event
                        if reading.is_over:
                            return
                raise _cut(self._http)
            except (ServiceUnavailableError, ApiError) as exc:
                await asyncio.sleep(reading.pause_after(exc))

    async def send(self, call: Call[T]) -> T:
        """See `ServiceClient.send`."""
        body = await asyncio.to_thread(call.body.read_bytes) if isinstance(call.body, Path) else call.body
        deadline = time.monotonic() + call.wait_seconds
        while True:
            with _translated(self._http):
                response = await self._http.request(call.method, call.path, content=body, headers=_content_type(call))
            result = _result(call, response)
            if not (late := call.late(result)):
                return result
            if time.monotonic() > deadline:
                raise TimeoutError(late)
            await asyncio.sleep(_POLL_SECONDS)

    async def __aenter__(self) -> Self:
        """Connections are opened by the first call."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.aclose()


# --- what both need ---------------------------------------------------------------------------------------------------


class _Reading:
    """The state of reading the events of a stream over connections that come and go.

    `retry_delays` and not a retry library: the time that the service may be away begins anew with each answer and
    each event, within a generator.
    """

    def __init__(self, stream_id: str, *, start: str, max_retry_seconds: float) -> None:
        self.path = calls.events_path(stream_id, start=start)
        self.is_over = False  # the service said that nothing follows
        self._last_id = ""  # of the last event given out; reading goes on after it
        self._max_retry_seconds = max_retry_seconds
        self._is_answered = False  # by the present connection
        self._failed_seconds: float | None = None
        self._delays = retry_delays()

    def request(self) -> dict[str, Any]:
        """Options of the next request."""
        self._is_answered = False
        return {"headers": {"Last-Event-ID": self._last_id} if self._last_id else {}, "timeout": _IDLE_SECONDS}

    def begin(self, response: httpx.Response) -> None:
        """Take the head of an answer; a refusal is whole."""
        if not response.is_success:
            raise error_of(response.status_code, response.content, response.headers)
        self._is_answered = response.headers.get("content-type", "").startswith("text/event-stream")

    def take(self, received: httpx_sse.ServerSentEvent) -> Iterator[EmotionEvent]:
        """The emotion event that was received, where it is one; raises `EventRejectedError`."""
        if received.event == "end":
            self.is_over = True
        if received.event == "emotion" and received.data:
            event = event_from_json(received.data)
            self._last_id = received.id
            self._failed_seconds, self._delays = None, retry_delays()
            yield event

    def pause_after(self, exc: ServiceUnavailableError | ApiError) -> float:
        """How long to wait before the next connection; raises the error when that is of no use."""
        if isinstance(exc, ApiError) and exc.status not in _PASSING:
            raise exc
        pause = next(self._delays)
        if isinstance(exc, ApiError) and exc.retry_after_seconds is not None:
            pause = max(pause, exc.retry_after_seconds)
        if self._failed_seconds is None or self._is_answered:  # it was there until now, with nothing to say
            self._failed_seconds = time.monotonic()
        if time.monotonic() + pause - self._failed_seconds > self._max_retry_seconds:
            raise exc
        return pause


def _options(url: str, *, token: str | None, timeout_seconds: float) -> dict[str, Any]:
    address = parse_address(checked_url(url))
    login = b"" if address.login is None else address.login_bytes
    return {
        "base_url": address.without_login().url,
        "headers": headers_for(token, login=login),
        "timeout": timeout_seconds,
        "limits": httpx.Limits(keepalive_expiry=_KEPT_SECONDS),
    }


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """The library reads proxies from the environment, and may lack what they need."""
    try:
        yield
    except (ImportError, ValueError, httpx.InvalidURL) as exc:
        raise ConfigError(
            f"a proxy of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) cannot be used: {redact(str(exc))}; "
            "correct it, or name the service in NO_PROXY"
        ) from exc


@contextlib.contextmanager
def _translated(http: httpx.Client | httpx.AsyncClient) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise ServiceUnavailableError(
            f"the service at {shown_address(str(http.base_url))} cannot be reached: "
            f"{redact(str(exc)) or type(exc).__name__}; is `emostream serve` running?"
        ) from exc


def _cut(http: httpx.Client | httpx.AsyncClient) -> ServiceUnavailableError:
    return ServiceUnavailableError(f"the service at {shown_address(str(http.base_url))} ended the connection")


def _content_type(call: Call[Any]) -> dict[str, str]:
    return {} if call.body is None else {"Content-Type": call.content_type}


def _result(call: Call[T], response: httpx.Response) -> T:
    if not response.is_success:
        raise error_of(response.status_code, response.content, response.headers)
    return call.parse(response.content, response.headers)
