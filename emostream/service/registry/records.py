"""The registry's data about a stream: what is wanted (`StreamRecord`) and what was observed (`StreamReport`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.domain.tuning import Tuning
from emostream.errors import RecordError
from emostream.service.registry.unknown_fields import is_for_newer, unknown_in, with_unknown

_VERSION = version("emostream")


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A wanted stream.

    Attributes:
        spec: the source and its sampling; the URL may contain credentials.
        is_paused: whether it is paused, with its source kept open.
        tuning: per-stream settings.
        created_epoch: token taken when the record was created. All epochs of this stream are greater, which
            distinguishes its events from those of an earlier stream with the same id.
        unknown: fields of a newer version, with their position; written back unchanged.
    """

    spec: StreamSpec
    is_paused: bool = False
    tuning: Tuning = field(default_factory=Tuning)
    created_epoch: int = 0
    unknown: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def stream_id(self) -> str:
        """The id of its spec."""
        return self.spec.stream_id

    def changed(self, *, is_paused: bool, tuning: Mapping[str, Any], **spec: Any) -> StreamRecord:
        """A copy with another sampling or tuning; `spec` and `tuning` name attributes of these."""
        return replace(
            self,
            spec=replace(self.spec, **spec),
            is_paused=is_paused,
            tuning=self.tuning.model_copy(update=tuning),
        )

    def same_wish_as(self, other: StreamRecord) -> bool:
        """Whether both describe the same stream, regardless of when they were created."""
        return replace(self, created_epoch=0) == replace(other, created_epoch=0)


@dataclass(frozen=True, slots=True)
class StreamReport:
    """The last report of a stream's owner.

    Attributes:
        state: state of the stream.
        detail: one sentence for people, without credentials.
        worker_id: the worker that reported.
        epoch: number of this run of the stream.
        at_ms: time of the report, milliseconds since 1970 on the worker's clock.
        num_frames: frames published in this run.
        num_faces: faces in them.
        last_index: frame index of the last of them; -1 before the first, and in reports of earlier versions.
        num_dropped: frames of a live source that were dropped.
        num_reconnects: reconnections of a live source.
        num_corrupt: packets and frames that were damaged or missing (HLS segments).
        measured_fps: frames published per second over the last seconds.
        latency_ms: capture to publication, mean over the last seconds; None before the first frame.
        lag_ms: age of the newest published frame; grows while no frames arrive. None before the first frame.
        source_delay_ms: delay of the newest frame's arrival after its time on the camera's clock, including the
            difference of the clocks; None where the source does not provide it.
        last_error: the last error, even if it is over; empty without one.
        has_worked: whether a picture of the source was processed in this run or an earlier one.
        decoder: the actual decoder, for example "h264"; empty before the source is open.
        width, height: pixels of the source's frames; 0 before it is open.
    """

    state: StreamState
    detail: str = ""
    worker_id: str = ""
    epoch: int = 0
    at_ms: int = 0
    num_frames: int = 0
    num_faces: int = 0
    num_dropped: int = 0
    num_reconnects: int = 0
    num_corrupt: int = 0
    measured_fps: float = 0.0
    latency_ms: float | None = None
    lag_ms: float | None = None
    source_delay_ms: float | None = None
    last_error: str = ""
    has_worked: bool = False
    decoder: str = ""
    width: int = 0
    height: int = 0
    last_index: int = -1


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a stream.

    Attributes:
        worker_id: the owner.
        epoch: fencing token; increases with each claim.
    """

    worker_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A living worker, as other workers see it.

    Attributes:
        worker_id: unique for each start of a worker.
        max_streams: largest number of streams that it takes.
        num_streams: streams it owns.
        is_draining: whether it takes no more streams and releases its own.
    """

    worker_id: str
    max_streams: int
    num_streams: int = 0
    is_draining: bool = False


@dataclass(frozen=True, slots=True)
class RegistryView:
    """The state of the registry at one time.

    Attributes:
        now_ms: the server's clock.
        generation: changes when the server lost its data.
        records: wanted streams by id.
        finished: final states of streams that need no more work.
        leases: valid leases by stream id.
        workers: living workers by id.
        previews: channels of the previews that are watched.
        unreadable: texts of records that this version cannot read, by id; this version does not work on these.
        deleted: streams whose deletion was observed, limited in number, with the `created_epoch` of their records.
    """

    now_ms: int
    generation: str
    records: dict[str, StreamRecord] = field(default_factory=dict)
    finished: dict[str, StreamState] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    workers: dict[str, WorkerEntry] = field(default_factory=dict)
    previews: frozenset[str] = frozenset()
    unreadable: dict[str, str] = field(default_factory=dict, repr=False)  # may hold credentials
    deleted: dict[str, int] = field(default_factory=dict, repr=False)

    def owner_of(self, stream_id: str) -> Lease | None:
        """The valid lease of a stream; None without one."""
        return self.leases.get(stream_id)

    def unfinished_ids(self) -> list[str]:
        """Ids of streams that need an owner, sorted."""
        return sorted(self.records.keys() - self.finished.keys())

    def free_ids(self) -> list[str]:
        """Ids of unfinished streams without an owner, sorted."""
        return [stream_id for stream_id in self.unfinished_ids() if self.owner_of(stream_id) is None]


def json_from_record(record: StreamRecord) -> str:
    """Serialise a record to one line of JSON; equal records give equal text."""
    return json.dumps(with_unknown(_content_of(record), record.unknown), sort_keys=True, separators=(",", ":"))


def record_from_json(text: str | bytes) -> StreamRecord:
    """The inverse of `json_from_record`. During an upgrade, newer processes may write fields that this version does not
    know; they are kept in `unknown`.

    Raises:
        RecordError: the text is not a record, or one for newer versions only (`min_version`).
    """
    try:
        content = json.loads(text)
        if is_for_newer(content, version=_VERSION):
            raise RecordError(f"an entry of the registry needs emostream {content['min_version']} or later")
        spec = content["spec"]
        zones = [{name: zone[name] for name in ("name", "polygon")} for zone in spec.get("zones", ())]
        record = StreamRecord(
            spec=StreamSpec(**_known(StreamSpec, {**spec, "kind": StreamKind(spec["kind"]), "zones": tuple(zones)})),
            tuning=_tuning(content.get("tuning", {})),
            **_known(StreamRecord, {name: content[name] for name in ("is_paused", "created_epoch") if name in content}),
        )
        return replace(record, unknown=unknown_in(content, _content_of(record)))
    except RecordError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RecordError("an entry of the registry is no stream record; was it written by another version?") from exc


def _content_of(record: StreamRecord) -> dict[str, Any]:
    return {
        "spec": {**asdict(record.spec), "kind": record.spec.kind.value},
        "is_paused": record.is_paused,
        "tuning": record.tuning.model_dump(),
        "created_epoch": record.created_epoch,
    }


def _tuning(content: Mapping[str, Any]) -> Tuning:
    known = {name: value for name, value in content.items() if name in Tuning.model_fields}
    return Tuning.model_validate(known, strict=True)  # ValidationError is a ValueError


def json_from_report(report: StreamReport) -> str:
    """Serialise a report to one line of JSON."""
    return json.dumps({**asdict(report), "state": report.state.value}, separators=(",", ":"))


def report_from_json(text: str | bytes) -> StreamReport:
    """The inverse of `json_from_report`; unknown fields are ignored.

    Raises:
        RecordError: the text is not a report.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        return StreamReport(**_known(StreamReport, {**content, "state": StreamState(content["state"])}))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RecordError("an entry of the registry is not a report; was it written by another version?") from exc


def read_report(text: str | bytes | None) -> StreamReport | None:
    """Parse a report; None when there is none or it is unreadable."""
    try:
        return None if text is None else report_from_json(text)
    except RecordError:
        return None


def _types_of(kind: type) -> dict[str, tuple[Any, ...]]:
    """Field name → possible types, of a dataclass."""
    hints = get_type_hints(kind)
    return {
        name: get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
        for name, hint in hints.items()
    }


_TYPES: dict[type, dict[str, tuple[Any, ...]]] = {
    kind: _types_of(kind) for kind in (StreamSpec, StreamRecord, StreamReport)
}


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `content` that the class has. Raises `TypeError` when one has another type."""
    types = _TYPES[kind]
    known = {name: value for name, value in content.items() if name in types}
    for name, value in known.items():
        if not any(_is_a(value, possible) for possible in types[name]):
            raise TypeError(f"{name} is a {type(value).__name__}")
    return known


def _is_a(value: object, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
