"""What the HTTP interface takes and gives, with examples for its documentation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from emostream.errors import SourceRejectedError
from emostream.redact import redact
from emostream.service.record import StreamRecord
from emostream.service.registry import StreamStatus
from emostream.stream import StreamKind, StreamSpec, StreamState, stream_id_from_url, stream_kind_of
from emostream.zones import zone_from

_MAX_URL_LENGTH = 2048


class ZoneBody(BaseModel):
    """A named part of the picture."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    polygon: list[tuple[float, float]] = Field(
        min_length=3, max_length=64, description="Corners as fractions of width and height; (0, 0) is the top left."
    )


class StreamRequest(BaseModel):
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
    url: str = Field(min_length=1, max_length=_MAX_URL_LENGTH, description="May hold credentials; never shown again.")
    kind: StreamKind | None = Field(None, description="By default from the URL's scheme.")
    every: int = Field(1, ge=1, le=1_000_000, description="Process one of this many frames.")
    target_fps: float | None = Field(None, gt=0, le=1000, description="Process at most this many frames per second.")
    max_frames: int | None = Field(None, ge=1, le=2**53, description="End after this many processed frames.")
    paused: bool = Field(False, description="Keep the source open but process nothing.")
    zones: list[ZoneBody] = Field(default_factory=list, max_length=64)

    def record(self) -> StreamRecord:
        """What the registry keeps.

        Raises:
            ConfigError: a value does not fit.
        """
        if not self.url.isprintable():
            raise SourceRejectedError("the URL holds characters that cannot be in one")
        spec = StreamSpec(
            stream_id=self.id or stream_id_from_url(self.url),
            url=self.url,
            kind=self.kind or stream_kind_of(self.url),
            every=self.every,
            target_fps=self.target_fps,
            max_frames=self.max_frames,
            zones=tuple(zone_from(zone.model_dump()) for zone in self.zones),
        )
        return StreamRecord(spec, is_paused=self.paused)


class StreamChange(BaseModel):
    """What to change in a stream; what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"paused": True}, {"target_fps": 5}, {"target_fps": None}]}
    )

    every: int = Field(1, ge=1, le=1_000_000)
    target_fps: float | None = Field(None, gt=0, le=1000)
    max_frames: int | None = Field(None, ge=1, le=2**53)
    paused: bool = False
    zones: list[ZoneBody] = Field(
        default_factory=list, max_length=64, description="A change of zones opens the source again."
    )

    def apply(self, record: StreamRecord) -> StreamRecord:
        """The record with these changes."""
        given: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        if "zones" in given:
            given["zones"] = tuple(zone_from(zone.model_dump()) for zone in self.zones)
        is_paused = given.pop("paused", record.is_paused)
        return record.changed(is_paused=is_paused, **given)


class StreamView(BaseModel):
    """A stream and how it is doing."""

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
    worker_id: str | None = Field(description="Who works on it.")
    epoch: int | None = Field(description="Which run of the stream this is; events carry it.")
    num_frames: int = Field(description="Frames published in this run.")
    num_faces: int
    num_dropped: int = Field(description="Frames of a live source that were lost because processing was slower.")
    num_reconnects: int
    measured_fps: float = Field(description="Frames published per second, over the last 5 seconds.")
    latency_ms: float | None = Field(description="Capture to published, mean over the last 5 seconds.")
    reported_at: datetime | None = Field(description="When its worker said so.")

    @classmethod
    def of(cls, status: StreamStatus) -> Self:
        """What may be shown of a stream."""
        spec, report = status.record.spec, status.report
        return cls(
            id=spec.stream_id,
            url=redact(spec.url),
            kind=spec.kind,
            every=spec.every,
            target_fps=spec.target_fps,
            max_frames=spec.max_frames,
            paused=status.record.is_paused,
            zones=[ZoneBody(name=zone.name, polygon=list(zone.polygon)) for zone in spec.zones],
            state=status.state,
            detail=redact(status.detail),
            worker_id=status.lease.worker_id if status.lease else None,
            epoch=status.lease.epoch if status.lease else (report.epoch if report else None),
            num_frames=report.num_frames if report else 0,
            num_faces=report.num_faces if report else 0,
            num_dropped=report.num_dropped if report else 0,
            num_reconnects=report.num_reconnects if report else 0,
            measured_fps=report.measured_fps if report and status.lease else 0.0,
            latency_ms=report.latency_ms if report and status.lease else None,
            reported_at=datetime.fromtimestamp(report.at_ms / 1000, UTC) if report and report.at_ms else None,
        )


class StreamList(BaseModel):
    """A page of streams, by id."""

    streams: list[StreamView]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")
    num_matching: int = Field(description="Streams on all pages together.")


class Readiness(BaseModel):
    """Whether streams can run."""

    ready: bool
    num_workers: int
    num_streams: int
    capacity: int = Field(description="Streams that all workers together take.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None
