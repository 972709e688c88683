"""The parts of real streams: sources on PyAV, live ones behind a watchdog, pipelines on the models of this process."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from emostream.assembly import Models, build_pipeline
from emostream.config import DecodeSettings, Settings
from emostream.decode.backoff import Backoff
from emostream.decode.live_source import LiveSource, StateObserver
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.source import DecodeStats, FrameSource, SourceInfo
from emostream.errors import SourceUnavailableError
from emostream.frame import Frame
from emostream.publish.sink import EventSink
from emostream.service.record import StreamRecord
from emostream.service.source_policy import SourcePolicy
from emostream.service.stream_host import TunablePipeline
from emostream.service.tuning import TunedStages
from emostream.stream import StreamKind, StreamSpec

_WATCHDOG_GRACE_SECONDS = 5.0  # FFmpeg's own time-outs come first and say more


class WorkerParts:
    """What the streams of a worker share.

    Args:
        settings: all settings.
        models: detector and classifier; not closed here.
        policy: which addresses may be opened; asked again at each opening, because names may point elsewhere by then.
    """

    def __init__(self, settings: Settings, *, models: Models, policy: SourcePolicy) -> None:
        self._settings = settings
        self._decode = settings.decode.model_copy(update={"follow_references": settings.service.allow_playlists})
        self._models = models
        self._policy = policy

    def source(self, spec: StreamSpec, *, on_state: StateObserver) -> FrameSource:
        """See `PipelineParts.source`."""
        decode = self._decode
        if spec.kind is StreamKind.FILE:
            return self._open_source(spec)
        return LiveSource(
            lambda: self._open_source(spec),
            # Not security: it spreads reconnections.
            backoff=Backoff(random.Random()),  # noqa: S311
            open_stall_seconds=decode.open_timeout_seconds + _WATCHDOG_GRACE_SECONDS,
            read_stall_seconds=decode.read_timeout_seconds + _WATCHDOG_GRACE_SECONDS,
            on_state=on_state,
        )

    def pipeline(self, record: StreamRecord, *, epoch: int, source: FrameSource, sink: EventSink) -> TunablePipeline:
        """See `PipelineParts.pipeline`."""
        tuned = TunedStages(self._settings, detector=self._models.detector, tuning=record.tuning)
        pipeline = build_pipeline(
            record.spec,
            settings=self._settings,
            models=self._models,
            sink=sink,
            epoch=epoch,
            source=source,
            stages=tuned.stages,
        )
        return TunablePipeline(pipeline, tuned.tune)

    def _open_source(self, spec: StreamSpec) -> FrameSource:
        return CheckedSource(spec, settings=self._decode, policy=self._policy)


class CheckedSource:
    """A source that asks the policy in the moment it is opened, in the thread that opens it, and opens what it says."""

    def __init__(self, spec: StreamSpec, *, settings: DecodeSettings, policy: SourcePolicy) -> None:
        self._spec = spec
        self._settings = settings
        self._policy = policy
        self._lock = threading.Lock()
        self._is_closed = False
        self._source: PyAVSource | None = None

    @property
    def kind(self) -> StreamKind:
        """Live or file, as the spec says."""
        return self._spec.kind

    @property
    def info(self) -> SourceInfo:
        """Available once opened."""
        return self._opened().info

    @property
    def stats(self) -> DecodeStats:
        """Counters so far."""
        return DecodeStats() if self._source is None else self._source.stats

    def __enter__(self) -> Self:
        """Ask, then open; raises `SourceError`."""
        source = PyAVSource(replace(self._spec, url=self._policy.check(self._spec.url)), settings=self._settings)
        with self._lock:
            if self._is_closed:
                raise SourceUnavailableError("the source was closed before it could be opened")
            self._source = source
        source.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Release everything. Safe to call twice and from another thread."""
        with self._lock:
            self._is_closed = True
            source = self._source
        if source is not None:
            source.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames of the source."""
        return iter(self._opened())

    def _opened(self) -> PyAVSource:
        if self._source is None:
            raise RuntimeError("expected an open source: use it in a `with` statement")
        return self._source
