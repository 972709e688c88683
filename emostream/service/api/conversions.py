"""What HTTP requests ask for → records of the registry; what the registry knows → answers."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from emostream.domain.redact import redact, shown_address
from emostream.domain.stream import StreamKind, StreamSpec, stream_id_from_url, stream_kind_of
from emostream.domain.zones import zone_from
from emostream.service.registry.jobs import FileResult, JobProgress
from emostream.service.registry.records import StreamRecord, StreamReport, StreamTuning
from emostream.service.registry.streams import StreamStatus
from emostream.wire.http_models import (
    _TUNING,
    FileOptions,
    StreamChange,
    StreamRequest,
    StreamView,
    ZoneBody,
)
from emostream.wire.job_models import FileView, JobView


def record_of_file(options: FileOptions) -> StreamRecord:
    """A record with these options, of a file that is not named yet."""
    return _record(options, "file", url="file://", kind=StreamKind.FILE)


def _record(
    options: FileOptions, stream_id: str, *, url: str, kind: StreamKind, is_paused: bool = False
) -> StreamRecord:
    spec = StreamSpec(
        stream_id=stream_id,
        url=url,
        kind=kind,
        every=options.every,
        target_fps=options.target_fps,
        max_frames=options.max_frames,
        zones=tuple(zone_from(zone.model_dump()) for zone in options.zones),
    )
    tuning = StreamTuning(**{name: getattr(options, name) for name in _TUNING})
    return StreamRecord(spec, is_paused=is_paused, tuning=tuning)


def record_from_request(request: StreamRequest) -> StreamRecord:
    """What the registry keeps.

    Raises:
        ConfigError: a value does not fit.
    """
    return _record(
        request,
        request.id or stream_id_from_url(request.url),
        url=request.url,
        kind=request.kind or stream_kind_of(request.url),
        is_paused=request.paused,
    )


def changed_record(change: StreamChange, record: StreamRecord) -> StreamRecord:
    """The record with these changes."""
    given: dict[str, Any] = {name: getattr(change, name) for name in change.model_fields_set}
    if "zones" in given:
        given["zones"] = tuple(zone_from(zone.model_dump()) for zone in change.zones)
    is_paused = given.pop("paused", record.is_paused)
    tuning = {name: given.pop(name) for name in _TUNING if name in given}
    return record.changed(is_paused=is_paused, tuning=tuning, **given)


def stream_view(status: StreamStatus) -> StreamView:
    """What may be shown of a stream."""
    spec, record, lease = status.record.spec, status.record, status.lease
    report = status.report or StreamReport(status.state)
    return StreamView(
        id=spec.stream_id,
        url=shown_address(spec.url),
        kind=spec.kind,
        every=spec.every,
        target_fps=spec.target_fps,
        max_frames=spec.max_frames,
        paused=record.is_paused,
        zones=[ZoneBody(name=zone.name, polygon=list(zone.polygon)) for zone in spec.zones],
        **asdict(record.tuning),
        state=status.state,
        detail=redact(status.detail),
        last_error=redact(report.last_error),
        worker_id=lease.worker_id if lease else None,
        epoch=lease.epoch if lease else report.epoch or None,
        num_frames=report.num_frames,
        num_faces=report.num_faces,
        num_dropped=report.num_dropped,
        num_corrupt=report.num_corrupt,
        num_reconnects=report.num_reconnects,
        measured_fps=report.measured_fps if lease else 0.0,
        latency_ms=report.latency_ms if lease else None,
        lag_ms=report.lag_ms if lease else None,
        source_delay_ms=report.source_delay_ms if lease else None,
        decoder=report.decoder,
        width=report.width,
        height=report.height,
        reported_at=datetime.fromtimestamp(report.at_ms / 1000, UTC) if report.at_ms else None,
    )


def job_view(progress: JobProgress) -> JobView:
    """What may be shown of a job."""
    return JobView(
        id=progress.job.job_id,
        url=shown_address(progress.job.url),
        parallel=progress.job.max_parallel,
        done=progress.is_done,
        num_files=progress.num_files,
        num_waiting=progress.num_waiting,
        num_active=progress.num_active,
        num_ended=progress.num_ended,
        num_failed=progress.num_failed,
        num_frames=progress.num_frames,
        num_faces=progress.num_faces,
    )


def file_view(result: FileResult) -> FileView:
    """What may be shown of a file."""
    return FileView(
        stream_id=result.stream_id,
        url=shown_address(result.url),
        state=result.state,
        detail=redact(result.detail),
        num_frames=result.num_frames,
        num_faces=result.num_faces,
    )
