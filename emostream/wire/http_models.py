"""What the HTTP interface takes and gives, with examples for its documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from emostream.domain.address import AddressError, parse_address
from emostream.domain.stream import StreamKind, StreamState

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


class ZoneBody(BaseModel):
    """A named part of the picture."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    polygon: list[tuple[float, float]] = Field(
        min_length=3, max_length=64, description="Corners as fractions of width and height; (0, 0) is the top left."
    )


class _Tuning(BaseModel):
    """How faces are judged; what is left out, or null, is as the settings of the service say."""

    model_config = ConfigDict(extra="forbid")

    smoothing_seconds: float | None = Field(
        None, ge=0, le=60, description="Time constant of the smoothed probabilities; 0 means none."
    )
    hold_seconds: float | None = Field(
        None, ge=0, le=60, description="A dominant emotion is named for at least this long."
    )
    switch_margin: float | None = Field(
        None, ge=0, le=1, description="An emotion that leads by this much takes over without waiting."
    )
    min_score: float | None = Field(None, ge=0, le=1, description="Faces found with less confidence do not count.")
    min_face_pixels: float | None = Field(None, ge=0, le=10_000, description="Faces less high than this do not count.")


_TUNING = tuple(_Tuning.model_fields)


class FileOptions(_Tuning):
    """What streams and the files of jobs have in common."""

    every: int = Field(1, ge=1, le=1_000_000, description="Process one of this many frames.")
    target_fps: float | None = Field(None, gt=0, le=1000, description="Process at most this many frames per second.")
    max_frames: int | None = Field(None, ge=1, le=2**53, description="End after this many processed frames.")
    zones: list[ZoneBody] = Field(default_factory=list, max_length=64)


def place_of_error(item: Mapping[str, Any]) -> str:
    """Which value of a request is wrong, of an error of pydantic's. A name that nobody knows is repeated only where it
    looks like one: it may be an address that should have been a value."""
    names = [str(part) for part in item["loc"]]
    return ".".join(name if _FIELD_NAME.fullmatch(name) else "?" for name in names)


def _usable(url: str) -> str:
    """A URL without what could steer a program behind it; it may be no URL at all, which the source policy says."""
    if not url.isprintable():
        raise ValueError("the URL holds characters that cannot be in one")
    try:
        parse_address(url)
    except AddressError as exc:
        if "://" in url:
            raise ValueError(f"the URL cannot be used: {exc}") from None
    return url


SourceUrl = Annotated[str, AfterValidator(_usable)]
"""The URL of a source, as a field of a request."""


class StreamRequest(FileOptions):
    """A stream that is wanted."""

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
        description="Names the stream for ever; part of its Redis key. By default made from the URL.",
    )
    url: SourceUrl = Field(
        min_length=1, max_length=_MAX_URL_LENGTH, description="May hold credentials; never shown again."
    )
    kind: StreamKind | None = Field(None, description="By default from the URL's scheme.")
    paused: bool = Field(False, description="Keep the source open but process nothing.")


class StreamChange(_Tuning):
    """What to change in a stream; what is left out stays as it is."""

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

    every: int = Field(1, ge=1, le=1_000_000)
    target_fps: float | None = Field(None, gt=0, le=1000)
    max_frames: int | None = Field(None, ge=1, le=2**53)
    paused: bool = False
    zones: list[ZoneBody] = Field(
        default_factory=list, max_length=64, description="A change of zones opens the source again."
    )


class StreamView(_Tuning):
    """A stream and how it is doing."""

    # Clients ignore what a later version may say in addition.
    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [_STREAM_EXAMPLE]})

    id: str
    url: str = Field(description="Credentials masked.")
    kind: StreamKind
    every: int
    target_fps: float | None
    max_frames: int | None
    paused: bool
    zones: list[ZoneBody]
    state: StreamState
    detail: str = Field(description="One sentence about the state.")
    last_error: str = Field(description="What went wrong last in this run, also when it is over.")
    worker_id: str | None = Field(description="Who works on it.")
    epoch: int | None = Field(description="Which run of the stream this is; events carry it.")
    num_frames: int = Field(description="Frames published in this run.")
    num_faces: int = Field(description="Faces in them.")
    num_dropped: int = Field(description="Frames of a live source that were lost because processing was slower.")
    num_corrupt: int = Field(description="Packets and pictures that came damaged, or not at all.")
    num_reconnects: int = Field(description="How often the source was opened again.")
    measured_fps: float = Field(description="Frames published per second, over the last 5 seconds.")
    latency_ms: float | None = Field(description="Capture to published, mean over the last 5 seconds.")
    lag_ms: float | None = Field(description="Age of the newest frame published; grows while nothing comes.")
    source_delay_ms: float | None = Field(
        description="How long after its time by the camera's own clock (RTCP) the newest frame came; the difference of "
        "the clocks is in it. Null where the source does not say."
    )
    decoder: str = Field(description="What decodes; empty before the source is open.")
    width: int = Field(description="Pixels of the source's frames; 0 before it is open.")
    height: int
    reported_at: datetime | None = Field(description="When its worker said so.")


class StreamList(BaseModel):
    """A page of streams, by id."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"streams": [_STREAM_EXAMPLE], "next_cursor": None, "num_matching": 1, "unreadable": []}]
        }
    )

    streams: list[StreamView]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")
    num_matching: int = Field(description="Streams on all pages together.")
    unreadable: list[str] = Field(
        default_factory=list,
        description="Ids of streams whose records are damaged, or of a newer version; they can only be removed here.",
    )


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether streams can run."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ready": True, "num_workers": 2, "num_streams": 9, "capacity": 32}]}
    )

    ready: bool
    num_workers: int
    num_streams: int
    capacity: int = Field(description="Streams that all workers together take.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

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
    """Documentation of the errors that a path may answer with: those that every path has, and these."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"model": Problem, "content": {PROBLEM_TYPE: schema}, "description": HTTPStatus(status).phrase}
        for status in sorted({401, 403, 422, 429, 503, *statuses})
    }
