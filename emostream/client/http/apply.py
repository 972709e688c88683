"""Brings a service to watch a given list of streams: what is missing is added, what differs is changed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from emostream.client.http.json_client import ApiClient, ApiError
from emostream.errors import ConfigError, ServiceUnavailableError
from emostream.wire.http_models import StreamChange, StreamRequest, place_of_error

_CHANGEABLE = tuple(StreamChange.model_fields)
"""What can be changed of a stream while it runs."""

_POLL_SECONDS = 1.0  # a service over HTTP has no other way to say that it is ready


class Applied(StrEnum):
    """What was done for a stream."""

    ADDED = "added"
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    """Its pace, tuning or zones; its source stayed open."""
    REPLACED = "replaced"
    """Another source: removed and added, a new run begins."""


def read_streams(path: Path) -> list[StreamRequest]:
    """The streams of a file, YAML or JSON: a list of bodies as `POST /v1/streams` takes them, each with an id.

    Raises:
        ConfigError: the file cannot be read, an entry is no stream, or an id is missing or twice there. URLs, which may
            hold passwords, are never part of the message.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"file of streams {path} cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" near line {mark.line + 1}" if mark else ""
        raise ConfigError(f"file of streams {path} is neither YAML nor JSON{where}") from exc
    if not isinstance(content, list):
        raise ConfigError(f"file of streams {path} must hold a list of streams, got {type(content).__name__}")
    streams = [_stream_from(entry, where=f"{path}, stream {number}") for number, entry in enumerate(content, 1)]
    ids = [stream.id for stream in streams]
    if twice := sorted({str(stream_id) for stream_id in ids if ids.count(stream_id) > 1}):
        raise ConfigError(f"{path}: there is more than one stream with the id {', '.join(twice)}")
    return streams


def apply_streams(client: ApiClient, streams: Sequence[StreamRequest]) -> Iterator[tuple[str, Applied]]:
    """Add or change each stream; doing so again changes nothing. Streams that are not in the list are left alone.

    Yields:
        Stream id and what was done, one after the other.

    Raises:
        ApiError: the service refused a stream, and says why.
        ServiceUnavailableError: the service does not answer.
    """
    for stream in streams:
        yield str(stream.id), _apply(client, stream.model_dump(mode="json"))


def wait_until_ready(client: ApiClient, *, timeout_seconds: float) -> None:
    """Return when streams can run.

    Raises:
        ServiceUnavailableError: the service was not ready in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            client.call("GET", "/readyz")
            return
        except (ServiceUnavailableError, ApiError) as exc:
            if time.monotonic() >= deadline:
                raise ServiceUnavailableError(f"the service was not ready within {timeout_seconds:g} s: {exc}") from exc
        time.sleep(_POLL_SECONDS)


def _stream_from(entry: Any, *, where: str) -> StreamRequest:
    try:
        stream = StreamRequest.model_validate(entry)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        name = place_of_error(first) or "entry"
        raise ConfigError(f"{where}: {name}: {first['msg']}") from None  # `exc` holds the URL
    if stream.id is None:
        raise ConfigError(f"{where}: id: a stream in a file needs one, or asking again could not find it")
    return stream


def _apply(client: ApiClient, body: dict[str, Any]) -> Applied:
    stream_id = body["id"]
    if not _is_there(client, stream_id):
        client.add(body)
        return Applied.ADDED
    if _is_as_wanted(client, body):
        return Applied.UNCHANGED
    client.change(stream_id, {name: body[name] for name in _CHANGEABLE})
    if _is_as_wanted(client, body):
        return Applied.CHANGED
    client.remove(stream_id)
    client.add(body)
    return Applied.REPLACED


def _is_there(client: ApiClient, stream_id: str) -> bool:
    try:
        client.show(stream_id)
    except ApiError as exc:
        if exc.status == 404:
            return False
        raise
    return True


def _is_as_wanted(client: ApiClient, body: dict[str, Any]) -> bool:
    """Answers of the service mask passwords, so the service itself compares: it takes the very same stream again."""
    try:
        client.add(body)
    except ApiError as exc:
        if exc.status == 409:
            return False
        raise
    return True
