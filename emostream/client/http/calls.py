"""Pure: what to send to the HTTP interface for each wish, and what its answers mean. No network in here."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter, ValidationError

from emostream.domain.address import AddressError, parse_address
from emostream.domain.event import EmotionEvent
from emostream.domain.redact import shown_address
from emostream.domain.stream import StreamState
from emostream.errors import ConfigError, EmostreamError
from emostream.vision.models.manifest import ModelManifest
from emostream.wire.events import event_from_json
from emostream.wire.http_models import (
    Readiness,
    StreamChange,
    StreamList,
    StreamRequest,
    StreamView,
    place_of_error,
)
from emostream.wire.job_models import JobFiles, JobRequest, JobView
from emostream.wire.preview import PreviewPicture

T = TypeVar("T")
Headers = dict[str, str]
"""Names in lower case."""

_PAGE = 500
_JSON = "application/json"


class ApiError(EmostreamError):
    """The service refused a call.

    Attributes:
        status: of the answer, as in HTTP.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call.

    Attributes:
        method, path: where; the path holds the query.
        parse: body and headers of the answer → what it means.
        body, content_type: what is sent; no body where None.
    """

    method: str
    path: str
    parse: Callable[[bytes, Headers], T]
    body: bytes | None = None
    content_type: str = _JSON


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
    """Who asks; `login` is `user:password` for a server in front of the service."""
    if token:
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": f"Basic {b64encode(login).decode()}"} if login else {}


def error_of(status: int, body: bytes) -> ApiError:
    """What the service says in a problem, or the status where something else answered."""
    try:
        detail = str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the service answered with HTTP status {status}"
    return ApiError(detail, status=status)


def add_stream(url: str, *, stream_id: str | None, options: dict[str, Any]) -> Call[StreamView]:
    """Ask for a stream; `options` are the other fields of `StreamRequest`. Raises `ConfigError` for a wrong one."""
    request = _validated(StreamRequest, {"url": url, "id": stream_id, **options})
    return _with_json("POST", "/v1/streams", request.model_dump(mode="json"), _view)


def show_stream(stream_id: str) -> Call[StreamView]:
    """One stream."""
    return Call("GET", _path(stream_id), _view)


def change_stream(stream_id: str, changes: dict[str, Any]) -> Call[StreamView]:
    """Change a stream in place; `changes` are fields of `StreamChange`. Raises `ConfigError` for a wrong one."""
    change = _validated(StreamChange, changes)
    return _with_json("PATCH", _path(stream_id), change.model_dump(mode="json", exclude_unset=True), _view)


def retry_stream(stream_id: str) -> Call[StreamView]:
    """Try a stream again that failed."""
    return Call("POST", f"{_path(stream_id)}/retry", _view)


def remove_stream(stream_id: str) -> Call[None]:
    """Ask for a stream no more."""
    return Call("DELETE", _path(stream_id), lambda body, headers: None)


def list_page(*, cursor: str | None, state: StreamState | None, prefix: str) -> Call[StreamList]:
    """A page of streams."""
    query = {"limit": _PAGE, "cursor": cursor, "state": state and state.value, "prefix": prefix or None}
    given = {name: value for name, value in query.items() if value is not None}
    return Call("GET", f"/v1/streams?{urlencode(given)}", _parser(StreamList))


def add_job(url: str, *, job_id: str, options: dict[str, Any]) -> Call[JobView]:
    """Ask for a folder; `options` are the other fields of `JobRequest`. Raises `ConfigError` for a wrong one."""
    request = _validated(JobRequest, {"url": url, "id": job_id, **options})
    return _with_json("POST", "/v1/jobs", request.model_dump(mode="json"), _parser(JobView))


def show_job(job_id: str) -> Call[JobView]:
    """One job."""
    return Call("GET", _job_path(job_id), _parser(JobView))


def list_jobs() -> Call[list[JobView]]:
    """All jobs."""
    return Call("GET", "/v1/jobs", _parser(list[JobView]))


def list_job_files(job_id: str, *, start: int) -> Call[JobFiles]:
    """A page of finished files."""
    return Call("GET", f"{_job_path(job_id)}/files?{urlencode({'start': start, 'limit': _PAGE})}", _parser(JobFiles))


def late_job(view: JobView, *, timeout_seconds: float) -> str:
    """What to say of a job that was waited for."""
    num_done = view.num_ended + view.num_failed
    return f"job {view.id} has processed {num_done} of {view.num_files} files after {timeout_seconds:g} s"


def remove_job(job_id: str) -> Call[None]:
    """Ask for a job no more."""
    return Call("DELETE", _job_path(job_id), lambda body, headers: None)


def list_models() -> Call[list[ModelManifest]]:
    """What classifies the faces."""
    return Call("GET", "/v1/models", _parser(list[ModelManifest]))


def readiness() -> Call[Readiness]:
    """Whether streams can run; an answer that says no is an `ApiError` with status 503."""
    return Call("GET", "/readyz", _parser(Readiness))


def classify_picture(picture: bytes | str) -> Call[EmotionEvent]:
    """The faces of a picture, given as its content or its URL."""

    def parse(body: bytes, headers: Headers) -> EmotionEvent:
        return event_from_json(body)

    if isinstance(picture, str):
        return _with_json("POST", "/v1/images", {"url": picture}, parse)
    return Call("POST", "/v1/images", parse, picture, "application/octet-stream")


def preview(stream_id: str, *, boxes: bool, blur: bool) -> Call[PreviewPicture]:
    """The next picture of a stream."""

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


def events_path(stream_id: str, *, start: str) -> str:
    """Where events are read; `start` is "now", "start" or an entry id."""
    return f"{_path(stream_id)}/events?{urlencode({'from': start})}"


def _path(stream_id: str) -> str:
    return f"/v1/streams/{quote(stream_id, safe='')}"


def _job_path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _with_json(method: str, path: str, body: Any, parse: Callable[[bytes, Headers], T]) -> Call[T]:
    return Call(method, path, parse, json.dumps(body).encode())


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
