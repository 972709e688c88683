"""Traces of frames: sampling, and the spans of a traced frame. `otlp.py` exports them.

Tracing measures nothing of its own: chunks note when they enter and leave a stage, and events contain the times of each
frame.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Protocol

from emostream.domain.event import EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.redact import redact
from emostream.errors import EmostreamError
from emostream.telemetry.logs import TRACE_ID

logger = logging.getLogger(__name__)

_TRACE_ID_BYTES = 16  # W3C Trace Context
_SAMPLED_BITS = 64  # as many as OpenTelemetry's TraceIdRatioBased looks at

AttributeValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Span:
    """A timed part of a trace.

    Attributes:
        name: of the operation.
        started_ns, ended_ns: nanoseconds since 1970.
        attributes: named as in OpenTelemetry, with dots.
        children: its parts, in order of time.
        error: error message without credentials; empty when it succeeded.
    """

    name: str
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    children: tuple[Span, ...] = ()
    error: str = ""


class SpanExporter(Protocol):
    """Destination of finished traces."""

    def export(self, trace_id: int, root: Span) -> None:
        """Accept a trace. Called from event loops and threads, so it must not block; it may drop traces."""
        ...

    def close(self) -> None:
        """Send the remaining traces within seconds. Blocks."""
        ...


def trace_id_of(stream_id: str, *, epoch: int, frame_index: int) -> int:
    """The trace id of a frame, 128 bits; it can be computed from the frame's event.

    >>> f"{trace_id_of('door', epoch=7, frame_index=12):032x}"
    '5f13695224a2a7da6129e524c73e0bca'
    """
    name = f"{epoch} {frame_index} {stream_id}".encode()
    return int.from_bytes(blake2b(name, digest_size=_TRACE_ID_BYTES).digest(), "big") or 1  # 0 is no valid id


def is_sampled(trace_id: int, *, ratio: float) -> bool:
    """Whether a trace is sampled. Depends on the id only, so all processes decide alike."""
    return trace_id % (1 << _SAMPLED_BITS) < round(ratio * (1 << _SAMPLED_BITS))


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str
    started_ns: int
    ended_ns: int


class ChunkTrace:
    """The traced frames of a chunk, and the stages that it passed.

    Args:
        sampled: position in the chunk → trace id; at least one.
        frames: all frames of the chunk.
        epoch: number of this run of the stream.
        exporter: receives the traces.
    """

    def __init__(
        self, sampled: Mapping[int, int], *, frames: Sequence[Frame], epoch: int, exporter: SpanExporter
    ) -> None:
        self._sampled = sampled
        self._frames = frames
        self._epoch = epoch
        self._exporter = exporter
        self._stages: dict[str, _Stage] = {}

    @property
    def name(self) -> str:
        """The first trace id, in hex, for log lines."""
        return f"{next(iter(self._sampled.values())):032x}"

    def passed(self, name: str, *, started_ns: int, ended_ns: int) -> None:
        """The chunk left a stage."""
        self._stages[name] = _Stage(name, started_ns, ended_ns)

    def failed(self, name: str, error: Exception, *, started_ns: int, ended_ns: int) -> None:
        """The chunk failed in a stage: export what is known."""
        if isinstance(error, EmostreamError):
            error.trace_id = error.trace_id or self.name
        broken = Span(name, started_ns, ended_ns, error=f"{type(error).__name__}: {redact(str(error))}")
        before = [Span(stage.name, stage.started_ns, stage.ended_ns) for stage in self._stages.values()]
        for position, trace_id in self._sampled.items():
            frame = self._frames[position]
            began_ns, decode = _decoded(frame)
            attributes = _identity(frame.stream_id, self._epoch, frame.frame_index)
            root = Span("frame", began_ns, ended_ns, attributes, (decode, *before, broken), broken.error)
            self._exporter.export(trace_id, root)

    def published(self, events: Sequence[EmotionEvent]) -> None:
        """All events of the chunk were delivered: export the traces."""
        for position, trace_id in self._sampled.items():
            frame = self._frames[position]
            logger.debug(
                "frame %d of epoch %d is traced", frame.frame_index, self._epoch, extra={"trace_id": f"{trace_id:032x}"}
            )
            self._exporter.export(trace_id, self._root(position, frame, events))

    def _root(self, position: int, frame: Frame, events: Sequence[EmotionEvent]) -> Span:
        event = events[position]
        publish = self._stages["publish"]
        began_ns, decode = _decoded(frame)
        attributes = _identity(event.stream_id, event.epoch, event.frame_index) | {
            "emostream.num_faces": len(event.faces),
            "emostream.num_dropped": event.num_dropped,
            "emostream.is_classified": event.is_classified,
            "emostream.model": f"{event.model_name} {event.model_version}",
        }
        children = [decode, *self._searched(position, events), *self._classified(event)]
        children.append(Span("publish", publish.started_ns, publish.ended_ns, {"emostream.num_events": len(events)}))
        return Span("frame", began_ns, publish.ended_ns, attributes, tuple(children))

    def _searched(self, position: int, events: Sequence[EmotionEvent]) -> list[Span]:
        """The spans of detection and tracking; frames of a chunk are processed one after the other in a thread."""
        before_ms = sum(_milliseconds(event, "detect") + _milliseconds(event, "follow") for event in events[:position])
        started_ns = self._stages["follow"].started_ns + round(1e6 * before_ms)
        detected_ns = started_ns + round(1e6 * _milliseconds(events[position], "detect"))
        followed_ns = detected_ns + round(1e6 * _milliseconds(events[position], "follow"))
        follow = Span("follow", detected_ns, followed_ns)
        return [Span("detect", started_ns, detected_ns), follow] if detected_ns > started_ns else [follow]

    def _classified(self, event: EmotionEvent) -> list[Span]:
        """The span of classification; none for a frame whose faces were not classified."""
        if not event.faces or not event.is_classified:
            return []
        stage = self._stages["classify"]
        infers_ns = min(stage.started_ns + round(1e6 * _milliseconds(event, "wait")), stage.ended_ns)
        parts = (Span("wait", stage.started_ns, infers_ns), Span("inference", infers_ns, stage.ended_ns))
        return [Span("classify", stage.started_ns, stage.ended_ns, children=parts)]


@dataclass(frozen=True, slots=True)
class FrameTracer:
    """Samples the frames to trace; shared by all streams of a process.

    Attributes:
        exporter: receives the traces; not closed here.
        ratio: share of frames to trace, 0…1.
    """

    exporter: SpanExporter
    ratio: float

    def begin(self, frames: Sequence[Frame], *, epoch: int) -> ChunkTrace | None:
        """Start the trace of a chunk; None when none of its frames is sampled."""
        ids = (trace_id_of(frame.stream_id, epoch=epoch, frame_index=frame.frame_index) for frame in frames)
        sampled = {
            position: trace_id for position, trace_id in enumerate(ids) if is_sampled(trace_id, ratio=self.ratio)
        }
        return ChunkTrace(sampled, frames=frames, epoch=epoch, exporter=self.exporter) if sampled else None


@contextlib.contextmanager
def stage(trace: ChunkTrace | None, name: str) -> Iterator[None]:
    """Record the block as a stage of the chunk; log lines written in it carry the trace id."""
    if trace is None:
        yield
        return
    started_ns = time.time_ns()
    token = TRACE_ID.set(trace.name)
    try:
        yield
        trace.passed(name, started_ns=started_ns, ended_ns=time.time_ns())
    except Exception as exc:
        trace.failed(name, exc, started_ns=started_ns, ended_ns=time.time_ns())
        raise
    finally:
        TRACE_ID.reset(token)


def _identity(stream_id: str, epoch: int, frame_index: int) -> dict[str, AttributeValue]:
    return {"emostream.stream_id": stream_id, "emostream.epoch": epoch, "emostream.frame_index": frame_index}


def _decoded(frame: Frame) -> tuple[int, Span]:
    """The start of a frame's decoding, and its span."""
    captured_ns = _nanoseconds(frame.captured_at)
    began_ns = captured_ns - round(1e9 * frame.decode_seconds)
    return began_ns, Span("decode", began_ns, captured_ns)


def _milliseconds(event: EmotionEvent, stage_name: str) -> float:
    return event.latency_ms.get(stage_name, 0.0)


def _nanoseconds(instant: datetime) -> int:
    return 1000 * round(1e6 * instant.timestamp())
