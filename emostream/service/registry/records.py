"""What the registry keeps of a stream: what is wanted (`StreamRecord`) and what was seen (`StreamReport`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import RecordError
from emostream.service.registry.unknown_fields import unknown_in, with_unknown


@dataclass(frozen=True, slots=True)
class StreamTuning:
    """What a stream does otherwise than the settings say; None leaves it to them. Changed while the stream runs.

    Attributes:
        smoothing_seconds: time constant of the smoothed probabilities; 0 means none.
        hold_seconds: a dominant emotion is named for at least this long.
        switch_margin: an emotion that leads by this much takes over without waiting.
        min_score: faces found with less confidence do not count; below `detect.min_score` there are none anyway.
        min_face_pixels: nor do lower ones; below `detect.min_face_pixels` none are looked for.
    """

    smoothing_seconds: float | None = None
    hold_seconds: float | None = None
    switch_margin: float | None = None
    min_score: float | None = None
    min_face_pixels: float | None = None


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A wanted stream.

    Attributes:
        spec: what to watch; its URL may hold credentials.
        is_paused: wanted to stand still, with its source kept open.
        tuning: how faces are judged.
        created_epoch: token taken when the record was made. Every epoch of this stream is greater, so events of an
            earlier stream with the same id can be told apart.
        unknown: what a newer version wrote in it, at the places where it stands; written again with the rest.
    """

    spec: StreamSpec
    is_paused: bool = False
    tuning: StreamTuning = StreamTuning()
    created_epoch: int = 0
    unknown: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def stream_id(self) -> str:
        """The id of its spec."""
        return self.spec.stream_id

    def changed(self, *, is_paused: bool, tuning: Mapping[str, Any], **spec: Any) -> StreamRecord:
        """The record with another pace or tuning; `spec` and `tuning` name attributes of these."""
        return replace(
            self,
            spec=replace(self.spec, **spec),
            is_paused=is_paused,
            tuning=replace(self.tuning, **tuning),
        )

    def same_wish_as(self, other: StreamRecord) -> bool:
        """Whether both ask for the same, whenever they were made."""
        return replace(self, created_epoch=0) == replace(other, created_epoch=0)


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What the owner of a stream saw of it last.

    Attributes:
        state: where it is in its life.
        detail: one sentence for people, credentials removed.
        worker_id: who reported.
        epoch: which run of the stream.
        at_ms: when, milliseconds since 1970 on the worker's clock.
        num_frames: frames published in this run.
        num_faces: faces in them.
        num_dropped: frames of a live source that were lost.
        num_reconnects: how often the source was opened again.
        num_corrupt: packets and pictures that came damaged, or not at all (missing HLS segments).
        measured_fps: frames published per second over the last seconds.
        latency_ms: capture to published, the mean over the last seconds; None before the first frame.
        lag_ms: age of the newest frame published; grows while nothing comes. None before the first frame.
        source_delay_ms: how long after its time by the camera's clock the newest frame came, the difference of the
            clocks included; None where the source does not say.
        last_error: what went wrong last, also when it is over; empty when nothing did.
        has_worked: the source was open once, in this run or in one before it.
        decoder: what really decodes, for example "h264"; empty before the source is open.
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


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may work on a stream.

    Attributes:
        worker_id: the owner.
        epoch: fencing token; grows with each claim.
    """

    worker_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A worker that lives, as the others see it.

    Attributes:
        worker_id: unique for each start of a worker.
        max_streams: hard cap.
        num_streams: streams it owns.
        is_draining: it takes no more and gives back what it has.
    """

    worker_id: str
    max_streams: int
    num_streams: int = 0
    is_draining: bool = False


@dataclass(frozen=True, slots=True)
class RegistryView:
    """The registry at one instant.

    Attributes:
        now_ms: the server's clock.
        generation: changes when the server lost its data.
        records: wanted streams by id.
        finished: final state of those that need no work any more.
        leases: by stream id, valid ones only.
        workers: by id, living ones only.
        previews: channels of the previews that somebody looks at.
        unreadable: texts of records that this version cannot read, by id. They are somebody else's: nobody here works
            on them.
    """

    now_ms: int
    generation: str
    records: dict[str, StreamRecord] = field(default_factory=dict)
    finished: dict[str, StreamState] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    workers: dict[str, WorkerEntry] = field(default_factory=dict)
    previews: frozenset[str] = frozenset()
    unreadable: dict[str, str] = field(default_factory=dict, repr=False)  # may hold credentials

    def owner_of(self, stream_id: str) -> Lease | None:
        """The valid lease on a stream."""
        return self.leases.get(stream_id)

    def unfinished_ids(self) -> list[str]:
        """Streams that need an owner, in the order of their ids."""
        return sorted(self.records.keys() - self.finished.keys())

    def free_ids(self) -> list[str]:
        """Those of them that have none."""
        return [stream_id for stream_id in self.unfinished_ids() if self.owner_of(stream_id) is None]


def json_from_record(record: StreamRecord) -> str:
    """One line; equal records give equal text."""
    return json.dumps(with_unknown(_content_of(record), record.unknown), sort_keys=True, separators=(",", ":"))


def record_from_json(text: str | bytes) -> StreamRecord:
    """The inverse of `json_from_record`. While a cluster is being upgraded, newer processes may write more than this
    version knows: that is kept in `unknown`.

    Raises:
        RecordError: it is no record.
    """
    try:
        content = json.loads(text)
        spec = content["spec"]
        zones = [{name: zone[name] for name in ("name", "polygon")} for zone in spec.get("zones", ())]
        record = StreamRecord(
            spec=StreamSpec(**_known(StreamSpec, {**spec, "kind": StreamKind(spec["kind"]), "zones": tuple(zones)})),
            tuning=StreamTuning(**_known(StreamTuning, content.get("tuning", {}))),
            **_known(StreamRecord, {name: content[name] for name in ("is_paused", "created_epoch") if name in content}),
        )
        return replace(record, unknown=unknown_in(content, _content_of(record)))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RecordError("an entry of the registry is no stream record; was it written by another version?") from exc


def _content_of(record: StreamRecord) -> dict[str, Any]:
    return {
        "spec": {**asdict(record.spec), "kind": record.spec.kind.value},
        "is_paused": record.is_paused,
        "tuning": asdict(record.tuning),
        "created_epoch": record.created_epoch,
    }


def json_from_report(report: StreamReport) -> str:
    """One line."""
    return json.dumps({**asdict(report), "state": report.state.value}, separators=(",", ":"))


def report_from_json(text: str | bytes) -> StreamReport:
    """The inverse of `json_from_report`; what this version does not know is left out.

    Raises:
        RecordError: it is no report.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        return StreamReport(**_known(StreamReport, {**content, "state": StreamState(content["state"])}))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RecordError("an entry of the registry is no report; was it written by another version?") from exc


def read_report(text: str | bytes | None) -> StreamReport | None:
    """A report, or None where there is none that this version can read."""
    try:
        return None if text is None else report_from_json(text)
    except RecordError:
        return None


def _types_of(kind: type) -> dict[str, tuple[Any, ...]]:
    """Of what types the fields of a class may be."""
    hints = get_type_hints(kind)
    return {
        name: get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
        for name, hint in hints.items()
    }


_TYPES: dict[type, dict[str, tuple[Any, ...]]] = {
    kind: _types_of(kind) for kind in (StreamSpec, StreamTuning, StreamRecord, StreamReport)
}


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `content` that a class has; raises `TypeError` where one is of another type."""
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
