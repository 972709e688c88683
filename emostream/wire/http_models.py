"""Requests and answers of the HTTP interface, with examples for its documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from emostream.domain.address import AddressError, parse_address
from emostream.domain.stream import (
    MAX_PIXEL_ASPECT,
    MIN_PIXEL_ASPECT,
    StreamKind,
    StreamState,
    pixel_aspect_from,
)
from emostream.domain.tuning import Tuning

_MAX_URL_LENGTH = 2048
_FIELD_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")

PROBLEM_TYPE = "application/problem+json"

_STREAM_EXAMPLE: dict[str, Any] = {
    "id": "door",
    "url": "rtsp://***@camera.example/stream1",
    "kind": "live",
    "every": 1,
    "target_fps": 10,
    "max_frames": None,
    "track": None,
    "pixel_aspect": None,
    "paused": False,
    "zones": [],
    "smoothing_seconds": None,
    "hold_seconds": None,
    "switch_margin": None,
    "min_score": None,
    "min_face_pixels": None,
    "state": "running",
    "detail": "",
    "last_error": "",
    "worker_id": "worker-1f0c5d9a2b3e",
    "epoch": 1790000000000,
    "num_frames": 1500,
    "num_faces": 2210,
    "num_dropped": 0,
    "num_corrupt": 0,
    "num_reconnects": 0,
    "measured_fps": 10.0,
    "latency_ms": 24.5,
    "lag_ms": 61.0,
    "source_delay_ms": 48.2,
    "decoder": "h264",
    "width": 640,
    "height": 360,
    "reported_at": "2026-11-23T10:15:04.120000Z",
}


def _encodable(text: str) -> str:
    """Refuse halves of surrogate pairs, which JSON can write as an escape and no encoding can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text contains half a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_encodable)]
"""Any text that can be stored, as a field of a request."""


class ZoneBody(BaseModel):
    """A named part of the picture."""

    model_config = ConfigDict(extra="forbid")

    name: Text = Field(min_length=1, max_length=64)
    polygon: list[tuple[float, float]] = Field(
        min_length=3, max_length=64, description="Corners as fractions of width and height; (0, 0) is the top left."
    )


PixelAspect = Annotated[
    float,
    BeforeValidator(pixel_aspect_from, json_schema_input_type=float | str),
    Field(ge=MIN_PIXEL_ASPECT, le=MAX_PIXEL_ASPECT),
]
"""Width of a pixel over its height, as a field of a request."""


class StreamOptions(Tuning):
    """How a source is processed: a stream, or each file of a job."""

    every: int = Field(1, ge=1, le=1_000_000)
    """Process every Nth frame."""
    target_fps: float | None = Field(None, gt=0, le=1000)
    """Process at most this many frames per second of the source's time."""
    max_frames: int | None = Field(None, ge=1, le=2**53)
    """Stop after this many processed frames."""
    pixel_aspect: PixelAspect | None = None
    """Width of a pixel over its height, in place of what the source says: a number, or two (`"64:45"`)."""
    zones: list[ZoneBody] = Field(default_factory=list, max_length=64)
    """Named parts of the picture; faces carry the names of the zones that they are in."""


def place_of_error(item: Mapping[str, Any]) -> str:
    """Which value of a request is wrong, from an error of pydantic.

    An unknown name is repeated only if it looks like a name: it may be an address that should have been a value.
    """
    names = [str(part) for part in item["loc"]]
    return ".".join(name if _FIELD_NAME.fullmatch(name) else "?" for name in names)


def _usable(url: str) -> str:
    """Refuse URLs with control characters; whether it is a URL at all is checked by the source policy."""
    if not url.isprintable():
        raise ValueError("the URL contains control characters")
    try:
        parse_address(url)
    except AddressError as exc:
        if "://" in url:
            raise ValueError(f"the URL is not valid: {exc}") from None
    return url


SourceUrl = Annotated[str, AfterValidator(_usable)]
"""The URL of a source, as a field of a request."""


class StreamRequest(StreamOptions):
    """A stream to add."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"id": "door", "url": "rtsp://user:password@camera.example/stream1", "target_fps": 10},
                {"id": "clip", "url": "file:///media/clip.mp4"},
            ]
        },
    )

    id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Id of the stream; part of its Redis key. By default derived from the URL.",
    )
    url: SourceUrl = Field(
        min_length=1,
        max_length=_MAX_URL_LENGTH,
        description="URL of the source. May hold credentials, which no answer shows.",
    )
    kind: StreamKind | None = Field(None, description="Live source or file; by default derived from the URL's scheme.")
    track: int | None = Field(
        None, ge=0, le=1_000_000, description="Video track to read, of several; by default the one that players show."
    )
    paused: bool = Field(False, description="Keep the source open and process no frames.")


class StreamChange(StreamOptions):
    """Changes of a stream; fields that are left out stay as they are."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"paused": True},
                {"target_fps": 5, "smoothing_seconds": 1.0},
                {"target_fps": None, "smoothing_seconds": None},
            ]
        },
    )

    paused: bool = False
    """Keep the source open and process no frames."""
    zones: list[ZoneBody] = Field(default_factory=list, max_length=64)
    """A change of zones reopens the source."""


class StreamView(StreamOptions):
    """A stream, its state and its statistics."""

    # Clients ignore what a later version may say in addition.
    model_config = ConfigDict(
        extra="ignore",
        json_schema_serialization_defaults_required=True,
        json_schema_extra={"examples": [_STREAM_EXAMPLE]},
    )

    id: str
    url: str = Field(description="URL of the source, credentials masked.")
    kind: StreamKind
    track: int | None = Field(None, description="Video track that was chosen; null where the source decides.")
    paused: bool
    state: StreamState
    detail: str = Field(description="Explanation of the state, in one sentence.")
    last_error: str = Field(description="Last error of this run, also after recovery.")
    worker_id: str | None = Field(description="Worker that runs the stream; null when there is none.")
    epoch: int | None = Field(description="Number of the current run; events carry it.")
    num_frames: int = Field(description="Frames published in this run.")
    num_faces: int = Field(description="Faces published in this run.")
    num_dropped: int = Field(description="Frames of a live source dropped because processing was too slow.")
    num_corrupt: int = Field(description="Damaged or missing packets and frames.")
    num_reconnects: int = Field(description="Reconnections of the source.")
    measured_fps: float = Field(description="Frames published per second, mean over the last 5 seconds.")
    latency_ms: float | None = Field(
        description="Milliseconds from capture to publishing, mean over the last 5 seconds."
    )
    lag_ms: float | None = Field(
        description="Age of the newest published frame in milliseconds; grows while no frame arrives."
    )
    source_delay_ms: float | None = Field(
        description="Milliseconds between the camera's own time of the newest frame (RTCP) and its arrival, including "
        "the offset between the two clocks. Null when the source does not tell its time."
    )
    decoder: str = Field(description="Decoder in use; empty before the source is open.")
    width: int = Field(description="Width of the source's frames in pixels; 0 before it is open.")
    height: int = Field(description="Height of the source's frames in pixels; 0 before it is open.")
    reported_at: datetime | None = Field(description="Time of the last report of its worker.")


class StreamList(BaseModel):
    """A page of streams, by id."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"streams": [_STREAM_EXAMPLE], "next_cursor": None, "num_matching": 1, "unreadable": []}]
        }
    )

    streams: list[StreamView]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page.")
    num_matching: int = Field(description="Number of matching streams on all pages.")
    unreadable: list[str] = Field(
        default_factory=list,
        description="Ids of streams whose records are damaged or of a newer version; they can only be deleted.",
    )


class WorkerView(BaseModel):
    """A living stream worker."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "worker-1f0c5d9a2b3e",
                    "host": "node-3",
                    "max_streams": 16,
                    "num_streams": 2,
                    "is_draining": False,
                    "measured_fps": 34.8,
                    "latency_ms": 26.1,
                    "stream_ids": ["door", "hall"],
                }
            ]
        }
    )

    id: str
    host: str | None = Field(description="Name of its host; null before it opened its first stream.")
    max_streams: int = Field(description="Maximum number of streams that it takes now.")
    num_streams: int = Field(description="Streams that it runs.")
    is_draining: bool = Field(description="Whether it gives its streams back and takes no more.")
    measured_fps: float = Field(description="Frames published per second, of all its streams.")
    latency_ms: float | None = Field(
        description="Milliseconds from capture to publishing, mean over its frames; null while there are none."
    )
    stream_ids: list[str] = Field(description="Its streams, by id.")


class HistoryFace(BaseModel):
    """A face of a sampled event."""

    track_id: int
    dominant: str
    confidence: float


class HistoryEvent(BaseModel):
    """What a sampled event says; fields as in events (docs/events.md)."""

    entry_id: str = Field(description="Id of its Redis entry; the event stream can be read from there.")
    captured_at: datetime
    epoch: int
    frame_index: int
    latency_ms: dict[str, float]
    faces: list[HistoryFace]


class StreamHistory(BaseModel):
    """Events of a stream over a time span, evenly sampled."""

    since: datetime = Field(description="Begin of the span.")
    until: datetime = Field(description="End of the span.")
    step_seconds: float = Field(description="Each step of this length has at most one event: its first.")
    oldest_at: datetime | None = Field(description="Capture time of the oldest event kept; null without events.")
    newest_at: datetime | None = Field(description="Capture time of the newest event; null without events.")
    events: list[HistoryEvent] = Field(description="In the order of capture.")


class Alive(BaseModel):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Readiness of the service."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ready": True, "num_workers": 2, "num_streams": 9, "capacity": 32, "problems": []}]
        }
    )

    ready: bool = Field(description="Whether Redis keeps what it is given and at least one worker takes streams.")
    num_workers: int = Field(description="Workers that take streams.")
    num_streams: int = Field(description="Unfinished streams.")
    capacity: int = Field(description="Maximum number of streams on all workers.")
    problems: list[str] = Field(
        default=[],
        description="What keeps the service from being ready, and what is wrong with the memory of Redis: its eviction "
        "policy, no limit, or a limit that is nearly reached. One sentence each.",
    )


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no stream door"}
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the errors of a path: those of every path, and these."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"model": Problem, "content": {PROBLEM_TYPE: schema}, "description": HTTPStatus(status).phrase}
        for status in sorted({401, 403, 422, 429, 503, *statuses})
    }
