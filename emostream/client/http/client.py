"""A running service from Python: streams, events, pictures. With the standard library alone."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from emostream.client.http import calls
from emostream.client.http.calls import ApiError, Call, checked_url, error_of, headers_for
from emostream.client.http.server_sent import ServerSentEvents
from emostream.domain.address import parse_address
from emostream.domain.event import EmotionEvent
from emostream.domain.redact import redact, shown_address
from emostream.domain.stream import StreamState
from emostream.errors import ServiceUnavailableError
from emostream.publish.retry import retry_delays
from emostream.vision.models.manifest import ModelManifest
from emostream.wire.http_models import Readiness, StreamView
from emostream.wire.job_models import FileView, JobView
from emostream.wire.preview import PreviewPicture

T = TypeVar("T")

_POLL_SECONDS = 0.5
_READ_BYTES = 1 << 16
_IDLE_SECONDS = 20.0  # the service writes at least every 5 s


class ServiceClient:
    """Calls the HTTP interface.

    Every method raises `ApiError` where the service refuses (`status` is the HTTP status, the message its reason) and
    `ServiceUnavailableError` where nobody answers.

    Args:
        url: of the service, for example `http://localhost:8000`.
        token: bearer token, where the service asks for one.
        timeout_seconds: bound on waiting for an answer.

    Raises:
        ConfigError: the URL is not one of HTTP.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_seconds: float = 10.0) -> None:
        address = parse_address(checked_url(url))
        self._url = address.without_login().url
        self._headers = headers_for(token, login=b"" if address.login is None else address.login_bytes)
        self._timeout_seconds = timeout_seconds

    def add(self, url: str, *, stream_id: str | None = None, **options: Any) -> StreamView:
        """Ask for a stream; asking again for the very same changes nothing.

        Args:
            url: of the source.
            stream_id: by default made from the URL.
            options: `every`, `target_fps`, `max_frames`, `paused`, `zones`, `kind`, `smoothing_seconds`, …: the fields
                of `StreamRequest`.

        Raises:
            ConfigError: an option does not fit.
        """
        return self.send(calls.add_stream(url, stream_id=stream_id, options=options))

    def show(self, stream_id: str) -> StreamView:
        """One stream and how it is doing."""
        return self.send(calls.show_stream(stream_id))

    def streams(self, *, state: StreamState | None = None, prefix: str = "") -> Iterator[StreamView]:
        """All streams by id, or those in one state, or those whose ids begin with a prefix."""
        cursor: str | None = None
        while True:
            page = self.send(calls.list_page(cursor=cursor, state=state, prefix=prefix))
            yield from page.streams
            if (cursor := page.next_cursor) is None:
                return

    def change(self, stream_id: str, **changes: Any) -> StreamView:
        """Change a stream in place: the fields of `StreamChange`, for example `target_fps=5`, `paused=True`."""
        return self.send(calls.change_stream(stream_id, changes))

    def retry(self, stream_id: str) -> StreamView:
        """Try a stream again that failed; `ApiError` with status 409 when it did not. A file goes on where it was."""
        return self.send(calls.retry_stream(stream_id))

    def remove(self, stream_id: str) -> None:
        """Ask for a stream no more; its events stay."""
        self.send(calls.remove_stream(stream_id))

    def wait_for(self, stream_id: str, *states: StreamState, timeout_seconds: float) -> StreamView:
        """The stream as soon as it is in one of these states.

        Raises:
            TimeoutError: it is not in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while (view := self.show(stream_id)).state not in states:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"stream {stream_id} is {view.state.value} after {timeout_seconds:g} s: {view.detail}"
                )
            time.sleep(_POLL_SECONDS)
        return view

    def events(self, stream_id: str, *, start: str = "now", max_retry_seconds: float = 30.0) -> Iterator[EmotionEvent]:
        """The events of a stream, as they are published, until it is over.

        A lost connection is opened again, and reading goes on after the last event.

        Args:
            stream_id: whose.
            start: "now", "start" (the oldest kept), or an entry id.
            max_retry_seconds: give up when the service is away for longer.
        """
        reading = ServerSentEvents()
        failed_seconds: float | None = None
        delays = retry_delays()
        while not reading.is_over:
            try:
                for event in self._read_events(stream_id, reading, start=start):
                    failed_seconds, delays = None, retry_delays()
                    yield event
            except (ServiceUnavailableError, ApiError) as exc:
                if isinstance(exc, ApiError) and exc.status != http.HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                if failed_seconds is None or reading.is_answered:  # it was there until now, with nothing to say
                    failed_seconds = time.monotonic()
                if time.monotonic() - failed_seconds > max_retry_seconds:
                    raise
                time.sleep(next(delays))

    def add_job(self, url: str, *, job_id: str, **options: Any) -> JobView:
        """Ask for all files of a folder, or of a prefix of an object store; asking again for the same changes nothing.

        Args:
            url: of the folder (`file:///…`) or the prefix (`s3://…`).
            job_id: names the job; its files become the streams `JOB_ID.1`, `JOB_ID.2`, …
            options: `patterns`, `parallel`, `every`, `target_fps`, …: the fields of `JobRequest`.

        Raises:
            ConfigError: an option does not fit.
        """
        return self.send(calls.add_job(url, job_id=job_id, options=options))

    def job(self, job_id: str) -> JobView:
        """One job and how far it is."""
        return self.send(calls.show_job(job_id))

    def jobs(self) -> list[JobView]:
        """All jobs, by id."""
        return self.send(calls.list_jobs())

    def job_files(self, job_id: str) -> Iterator[FileView]:
        """What became of the files that are finished, in the order in which they were."""
        start: int | None = 0
        while start is not None:
            page = self.send(calls.list_job_files(job_id, start=start))
            yield from page.files
            start = page.next_start

    def wait_for_job(self, job_id: str, *, timeout_seconds: float) -> JobView:
        """The job as soon as no file of it is left to be processed.

        Raises:
            TimeoutError: it is not in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not (view := self.job(job_id)).done:
            if time.monotonic() > deadline:
                raise TimeoutError(calls.late_job(view, timeout_seconds=timeout_seconds))
            time.sleep(_POLL_SECONDS)
        return view

    def remove_job(self, job_id: str) -> None:
        """Ask for a job no more; the events of its files stay."""
        self.send(calls.remove_job(job_id))

    def classify(self, picture: bytes | Path | str) -> EmotionEvent:
        """The faces of one picture: its content, a file here, or a URL that the service reaches."""
        content = picture.read_bytes() if isinstance(picture, Path) else picture
        return self.send(calls.classify_picture(content))

    def preview(self, stream_id: str, *, boxes: bool = True, blur: bool = False) -> PreviewPicture:
        """The next picture of a running stream."""
        return self.send(calls.preview(stream_id, boxes=boxes, blur=blur))

    def models(self) -> list[ModelManifest]:
        """What classifies the faces."""
        return self.send(calls.list_models())

    def readiness(self) -> Readiness:
        """How many workers and streams there are; `ApiError` with status 503 where no stream can run."""
        return self.send(calls.readiness())

    def send(self, call: Call[T]) -> T:
        """One call and what its answer means."""
        headers = self._headers | ({} if call.body is None else {"Content-Type": call.content_type})
        request = urllib.request.Request(self._url + call.path, call.body, headers, method=call.method)  # noqa: S310  # checked
        with self._answers(), urllib.request.urlopen(request, timeout=self._timeout_seconds) as response:  # noqa: S310
            answered = {name.lower(): value for name, value in response.headers.items()}
            return call.parse(response.read(), answered)

    def _read_events(self, stream_id: str, reading: ServerSentEvents, *, start: str) -> Iterator[EmotionEvent]:
        reading.begin()
        headers = self._headers | ({"Last-Event-ID": reading.last_id} if reading.last_id else {})
        url = self._url + calls.events_path(stream_id, start=start)
        request = urllib.request.Request(url, headers=headers)  # noqa: S310  # checked
        with self._answers(), urllib.request.urlopen(request, timeout=_IDLE_SECONDS) as response:  # noqa: S310
            while not reading.is_over:
                data = response.read1(_READ_BYTES)
                if not data:
                    raise ServiceUnavailableError(f"the service at {shown_address(self._url)} ended the connection")
                yield from reading.take(data)

    def _answers(self) -> _Answers:
        return _Answers(self._url)


class _Answers:
    """Translates what goes wrong with a call."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, urllib.error.HTTPError):
            with exc:
                raise error_of(exc.code, exc.read()) from exc
        if isinstance(exc, OSError | http.client.HTTPException) and not isinstance(exc, ServiceUnavailableError):
            reason = getattr(exc, "reason", exc)
            raise ServiceUnavailableError(
                f"the service at {shown_address(self._url)} cannot be reached: {redact(str(reason))}; "
                "is `emostream serve` running?"
            ) from exc
