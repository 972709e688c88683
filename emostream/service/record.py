"""What the registry keeps of a stream: what is wanted (`StreamRecord`) and what was seen (`StreamReport`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from emostream.errors import EventRejectedError
from emostream.stream import StreamKind, StreamSpec, StreamState


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
    """

    spec: StreamSpec
    is_paused: bool = False
    tuning: StreamTuning = StreamTuning()
    created_epoch: int = 0

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
        num_corrupt: packets and pictures that came damaged.
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
    """

    now_ms: int
    generation: str
    records: dict[str, StreamRecord] = field(default_factory=dict)
    finished: dict[str, StreamState] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    workers: dict[str, WorkerEntry] = field(default_factory=dict)
    previews: frozenset[str] = frozenset()

    def owner_of(self, stream_id: str) -> Lease | None:
        """The valid lease on a stream."""
        return self.leases.get(stream_id)

    def unfinished_ids(self) -> list[str]:
        """Streams that need an owner, in the order of their ids."""
        return sorted(self.records.keys() - self.finished.keys())

    def free_ids(self) -> list[str]:
        """Those of them that have none."""
        return [stream_id for stream_id in self.unfinished_ids() if self.owner_of(stream_id) is None]


_REPORT_FIELDS = {item.name for item in fields(StreamReport)}


def json_from_record(record: StreamRecord) -> str:
    """One line; equal records give equal text."""
    content = {
        "spec": {**asdict(record.spec), "kind": record.spec.kind.value},
        "is_paused": record.is_paused,
        "tuning": asdict(record.tuning),
        "created_epoch": record.created_epoch,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def record_from_json(text: str | bytes) -> StreamRecord:
    """The inverse of `json_from_record`.

    Raises:
        EventRejectedError: it is no record.
    """
    try:
        content = json.loads(text)
        spec = content.pop("spec")
        kind = StreamKind(spec.pop("kind"))
        tuning = StreamTuning(**content.pop("tuning", {}))
        return StreamRecord(spec=StreamSpec(kind=kind, **spec), tuning=tuning, **content)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EventRejectedError(
            "an entry of the registry is no stream record; was it written by another version?"
        ) from exc


def json_from_report(report: StreamReport) -> str:
    """One line."""
    return json.dumps({**asdict(report), "state": report.state.value}, separators=(",", ":"))


def report_from_json(text: str | bytes) -> StreamReport:
    """The inverse of `json_from_report`.

    Raises:
        EventRejectedError: it is no report.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        state = StreamState(content.pop("state"))
        # While a cluster is being upgraded, newer workers may say more than this version knows.
        known = {name: value for name, value in content.items() if name in _REPORT_FIELDS}
        return StreamReport(state=state, **known)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EventRejectedError("an entry of the registry is no report; was it written by another version?") from exc
