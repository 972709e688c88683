"""What HTTP requests ask for → records of the registry; what the registry knows → answers."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import UTC, datetime

from emostream.domain.redact import redact, shown_address
from emostream.domain.stream import StreamKind, StreamSpec, stream_id_from_url, stream_kind_of
from emostream.domain.tuning import Tuning
from emostream.service.registry.jobs import FileResult, JobProgress
from emostream.service.registry.records import StreamRecord, StreamReport
from emostream.service.registry.streams import StreamStatus
from emostream.wire.http_models import (
    StreamChange,
    StreamOptions,
    StreamRequest,
    StreamView,
)
from emostream.wire.job_models import FileView, JobView

_TUNING, _OPTIONS = set(Tuning.model_fields), set(StreamOptions.model_fields) - set(Tuning.model_fields)
_WHILE_OWNED = {"measured_fps": 0.0, "latency_ms": None, "lag_ms": None, "source_delay_ms": None}
"""What a report says of the last seconds, and what is shown of a stream that no worker owns."""
_REPORTED = set(StreamView.model_fields) & {item.name for item in fields(StreamReport)} - {"state", "detail"}


def record_of_file(options: StreamOptions) -> StreamRecord:
    """A record with these options, of a file that is not named yet."""
    return _record(options, "file", url="file://", kind=StreamKind.FILE)


def _record(
    options: StreamOptions,
    stream_id: str,
    *,
    url: str,
    kind: StreamKind,
    is_paused: bool = False,
    track: int | None = None,
) -> StreamRecord:
    spec = StreamSpec(stream_id, url, kind, track=track, **options.model_dump(include=_OPTIONS))
    return StreamRecord(spec, is_paused=is_paused, tuning=Tuning(**options.model_dump(include=_TUNING)))


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
        track=request.track,
    )


def changed_record(change: StreamChange, record: StreamRecord) -> StreamRecord:
    """The record with these changes."""
    given = change.model_dump(exclude_unset=True)
    return record.changed(
        is_paused=given.get("paused", record.is_paused),
        tuning={name: value for name, value in given.items() if name in _TUNING},
        **{name: value for name, value in given.items() if name in _OPTIONS},
    )


def stream_view(status: StreamStatus) -> StreamView:
    """What may be shown of a stream."""
    spec, record, lease = status.record.spec, status.record, status.lease
    report = status.report or StreamReport(status.state)
    reported = {name: getattr(report, name) for name in _REPORTED} | ({} if lease else _WHILE_OWNED)
    return StreamView.model_validate(
        reported
        | asdict(spec)
        | record.tuning.model_dump()
        | {
            "id": spec.stream_id,
            "url": shown_address(spec.url),
            "paused": record.is_paused,
            "state": status.state,
            "detail": redact(status.detail),
            "last_error": redact(report.last_error),
            "worker_id": lease.worker_id if lease else None,
            "epoch": lease.epoch if lease else report.epoch or None,
            "reported_at": datetime.fromtimestamp(report.at_ms / 1000, UTC) if report.at_ms else None,
        }
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
