"""The calls of the HTTP interface: what each sends, and what its answer means.

Each of these functions is a method of `ServiceClient`, which returns the answer, and of `AsyncServiceClient`, where it
is awaited; pages are iterated over, by `for` and `async for`. Nothing in here uses the network.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter, ValidationError

from emostream.domain.address import AddressError, parse_address
from emostream.domain.event import EmotionEvent
from emostream.domain.model_manifest import ModelManifest
from emostream.domain.redact import shown_address
from emostream.domain.stream import StreamState
from emostream.errors import ConfigError, EmostreamError
from emostream.wire.events import event_from_json
from emostream.wire.http_models import (
    Readiness,
    StreamChange,
    StreamHistory,
    StreamList,
    StreamRequest,
    StreamView,
    WorkerView,
    place_of_error,
)
from emostream.wire.job_models import FileView, JobFiles, JobRequest, JobView
from emostream.wire.preview import PreviewPicture

T = TypeVar("T")
Headers = Mapping[str, str]
"""Of an answer; names are found in whatever case they are asked for."""

_PAGE = 500
_JSON = "application/json"


class ApiError(EmostreamError):
    """The service refused a call.

    Attributes:
        status: HTTP status of the answer.
        retry_after_seconds: when the service may take the call (`Retry-After`); None where it does not say.
    """

    def __init__(self, message: str, *, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request and the meaning of its answer.

    Attributes:
        method, path: of the request; the path holds the query.
        parse: body and headers of the answer → result.
        body: what is sent, or a file that holds it; None sends no body.
        content_type: of the body.
        late: what to say where the result is not the wanted one yet, so that the call is sent again; empty ends it.
        wait_seconds: for the wanted result, before a `TimeoutError`.
    """

    method: str
    path: str
    parse: Callable[[bytes, Headers], T]
    body: bytes | Path | None = None
    content_type: str = _JSON
    late: Callable[[T], str] = lambda result: ""
    wait_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        items: of this page.
        rest: the call for the next page; None after the last one.
    """

    items: Sequence[T]
    rest: Call[Page[T]] | None


def checked_url(url: str) -> str:
    """The service's URL without a slash at its end.

    Raises:
        ConfigError: it is not one of HTTP.
    """
    try:
        address = parse_address(url)
    except AddressError as exc:
        raise ConfigError(f"service URL {shown_address(url)} is not usable: {exc}") from exc
    if address.scheme not in ("http", "https"):
        raise ConfigError(f"service URL {shown_address(url)} is not usable; expected for example http://localhost:8000")
    return address.url.rstrip("/")


def headers_for(token: str | None, *, login: bytes = b"") -> dict[str, str]:
    """The `Authorization` header; `login` is `user:password` for a server in front of the service."""
    if token:
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": f"Basic {b64encode(login).decode()}"} if login else {}


def error_of(status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """The error of an answer: what the service says in a problem, or the status where something else answered."""
    try:
        detail = str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the service answered with HTTP status {status}"
    retry_after = headers.get("retry-after", "")
    return ApiError(detail, status=status, retry_after_seconds=float(retry_after) if retry_after.isdigit() else None)


def add(url: str, *, stream_id: str | None = None, **options: Any) -> Call[StreamView]:
    """Add a stream. Idempotent: the same request again changes nothing.

    Args:
        url: of the source.
        stream_id: by default made from the URL.
        options: `every`, `target_fps`, `max_frames`, `paused`, `zones`, `kind`, `smoothing_seconds`, …: the fields of
            `StreamRequest`.

    Raises:
        ConfigError: an option does not fit.
    """
    request = _validated(StreamRequest, {"url": url, "id": stream_id, **options})
    return _with_json("POST", "/v1/streams", request.model_dump(mode="json"), _view)


def show(stream_id: str) -> Call[StreamView]:
    """One stream and its state."""
    return Call("GET", _path(stream_id), _view)


def streams(*, state: StreamState | None = None, prefix: str = "", search: str = "") -> Call[Page[StreamView]]:
    """All streams by id, or those in one state, with a prefix of their ids, or with a text in id or URL."""

    def page(cursor: str | None) -> Call[Page[StreamView]]:
        query = {
            "limit": _PAGE,
            "cursor": cursor,
            "state": state and state.value,
            "prefix": prefix or None,
            "search": search or None,
        }
        given = {name: value for name, value in query.items() if value is not None}
        return Call("GET", f"/v1/streams?{urlencode(given)}", parse)

    def parse(body: bytes, headers: Headers) -> Page[StreamView]:
        found = StreamList.model_validate_json(body)
        return Page(found.streams, None if found.next_cursor is None else page(found.next_cursor))

    return page(None)


def change(stream_id: str, **changes: Any) -> Call[StreamView]:
    """Change a stream in place: the fields of `StreamChange`, for example `target_fps=5`, `paused=True`.

    Raises:
        ConfigError: a field does not fit.
    """
    wanted = _validated(StreamChange, changes)
    return _with_json("PATCH", _path(stream_id), wanted.model_dump(mode="json", exclude_unset=True), _view)


def retry(stream_id: str) -> Call[StreamView]:
    """Retry a failed stream; `ApiError` with status 409 when it did not fail. A file goes on where it was."""
    return Call("POST", f"{_path(stream_id)}/retry", _view)


def remove(stream_id: str) -> Call[None]:
    """Delete a stream; its events stay."""
    return Call("DELETE", _path(stream_id), _nothing)


def wait_for(stream_id: str, *states: StreamState, timeout_seconds: float) -> Call[StreamView]:
    """Wait until a stream is in one of these states, and return it.

    Raises:
        TimeoutError: it is not in time.
    """

    def late(view: StreamView) -> str:
        if view.state in states:
            return ""
        return f"stream {stream_id} is {view.state.value} after {timeout_seconds:g} s: {view.detail}"

    return replace(show(stream_id), late=late, wait_seconds=timeout_seconds)


def add_job(url: str, *, job_id: str, **options: Any) -> Call[JobView]:
    """Process all files of a folder or of a prefix of an object store. Idempotent, as `add`.

    Args:
        url: of the folder (`file:///…`) or the prefix (`s3://…`).
        job_id: names the job; its files become the streams `JOB_ID.1`, `JOB_ID.2`, …
        options: `patterns`, `parallel`, `every`, `target_fps`, …: the fields of `JobRequest`.

    Raises:
        ConfigError: an option does not fit.
    """
    request = _validated(JobRequest, {"url": url, "id": job_id, **options})
    return _with_json("POST", "/v1/jobs", request.model_dump(mode="json"), _parser(JobView))


def job(job_id: str) -> Call[JobView]:
    """One job and its progress."""
    return Call("GET", _job_path(job_id), _parser(JobView))


def jobs() -> Call[list[JobView]]:
    """All jobs, by id."""
    return Call("GET", "/v1/jobs", _parser(list[JobView]))


def job_files(job_id: str) -> Call[Page[FileView]]:
    """The finished files of a job, in the order in which they were finished."""

    def page(start: int) -> Call[Page[FileView]]:
        query = urlencode({"start": start, "limit": _PAGE})
        return Call("GET", f"{_job_path(job_id)}/files?{query}", parse)

    def parse(body: bytes, headers: Headers) -> Page[FileView]:
        found = JobFiles.model_validate_json(body)
        return Page(found.files, None if found.next_start is None else page(found.next_start))

    return page(0)


def wait_for_job(job_id: str, *, timeout_seconds: float) -> Call[JobView]:
    """Wait until every file of a job is finished, and return the job.

    Raises:
        TimeoutError: it is not in time.
    """

    def late(view: JobView) -> str:
        if view.done:
            return ""
        num_done = view.num_ended + view.num_failed
        return f"job {job_id} has processed {num_done} of {view.num_files} files after {timeout_seconds:g} s"

    return replace(job(job_id), late=late, wait_seconds=timeout_seconds)


def remove_job(job_id: str) -> Call[None]:
    """Delete a job; the events of its files stay."""
    return Call("DELETE", _job_path(job_id), _nothing)


def classify(picture: bytes | Path | str) -> Call[EmotionEvent]:
    """The faces of one picture: its content, a file here, or a URL that the service reaches."""

    def parse(body: bytes, headers: Headers) -> EmotionEvent:
        return event_from_json(body)

    if isinstance(picture, str):
        return _with_json("POST", "/v1/images", {"url": picture}, parse)
    return Call("POST", "/v1/images", parse, picture, "application/octet-stream")


def preview(stream_id: str, *, boxes: bool = True, blur: bool = False) -> Call[PreviewPicture]:
    """The next picture of a running stream."""

    def parse(body: bytes, headers: Headers) -> PreviewPicture:
        return PreviewPicture(
            stream_id=stream_id,
            epoch=int(headers["x-epoch"]),
            frame_index=int(headers["x-frame-index"]),
            pts_seconds=float(headers["x-pts-seconds"]),
            captured_at=datetime.fromisoformat(headers["x-captured-at"]),
            frame_width=int(headers["x-frame-width"]),
            frame_height=int(headers["x-frame-height"]),
            jpeg=body,
        )

    query = urlencode({"boxes": str(boxes).lower(), "blur": str(blur).lower()})
    return Call("GET", f"{_path(stream_id)}/preview.jpg?{query}", parse)


def history(
    stream_id: str, *, seconds: float = 3600, until: datetime | None = None, limit: int = 300
) -> Call[StreamHistory]:
    """Events of a time span, evenly sampled from what Redis keeps.

    Args:
        stream_id: the stream.
        seconds: length of the span.
        until: its end, aware; None means the present.
        limit: maximum number of events.
    """
    query = {"seconds": seconds, "limit": limit} | ({"until": until.isoformat()} if until is not None else {})
    return Call("GET", f"{_path(stream_id)}/history?{urlencode(query)}", _parser(StreamHistory))


def models() -> Call[list[ModelManifest]]:
    """The models that classify the faces."""
    return Call("GET", "/v1/models", _parser(list[ModelManifest]))


def workers() -> Call[list[WorkerView]]:
    """The living workers by id, with the streams that each runs."""
    return Call("GET", "/v1/workers", _parser(list[WorkerView]))


def readiness() -> Call[Readiness]:
    """The number of workers and streams; `ApiError` with status 503 where no stream can run."""
    return Call("GET", "/readyz", _parser(Readiness))


def events_path(stream_id: str, *, start: str) -> str:
    """The path of a stream's events; `start` is "now", "start" or an entry id."""
    return f"{_path(stream_id)}/events?{urlencode({'from': start})}"


def _path(stream_id: str) -> str:
    return f"/v1/streams/{quote(stream_id, safe='')}"


def _job_path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _with_json(method: str, path: str, body: Any, parse: Callable[[bytes, Headers], T]) -> Call[T]:
    return Call(method, path, parse, json.dumps(body).encode())


def _nothing(body: bytes, headers: Headers) -> None:
    return None


def _view(body: bytes, headers: Headers) -> StreamView:
    return StreamView.model_validate_json(body)


def _parser(kind: type[T]) -> Callable[[bytes, Headers], T]:
    adapter: TypeAdapter[T] = TypeAdapter(kind)
    return lambda body, headers: adapter.validate_json(body)


Model = TypeVar("Model", StreamRequest, StreamChange, JobRequest)


def _validated(kind: type[Model], content: dict[str, Any]) -> Model:
    try:
        return kind.model_validate(content)
    except ValidationError as exc:
        # Without the input: it may hold a camera's password.
        problems = "; ".join(f"{place_of_error(item)}: {item['msg']}" for item in exc.errors())
        raise ConfigError(f"this cannot be asked for: {problems}") from None
