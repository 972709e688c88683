"""The parts of real streams: sources on PyAV, live ones behind a watchdog, pipelines on the models of this process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from emostream.assembly import Models, build_pipeline
from emostream.config import Settings
from emostream.decode.backoff import Backoff
from emostream.decode.live_source import LiveSource, StateObserver
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.source import DecodeStats, FrameSource, SourceInfo
from emostream.frame import Frame
from emostream.pipeline import Pipeline
from emostream.publish.sink import EventSink
from emostream.service.source_policy import SourcePolicy
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

    def pipeline(self, spec: StreamSpec, *, epoch: int, source: FrameSource, sink: EventSink) -> Pipeline:
        """See `PipelineParts.pipeline`."""
        return build_pipeline(spec, settings=self._settings, models=self._models, sink=sink, epoch=epoch, source=source)

    def _open_source(self, spec: StreamSpec) -> FrameSource:
        return CheckedSource(PyAVSource(spec, settings=self._decode), url=spec.url, policy=self._policy)


class CheckedSource:
    """A source that asks the policy in the moment it is opened, in the thread that opens it."""

    def __init__(self, source: FrameSource, *, url: str, policy: SourcePolicy) -> None:
        self._source = source
        self._url = url
        self._policy = policy
        self.close = source.close

    @property
    def kind(self) -> StreamKind:
        """That of the source inside."""
        return self._source.kind

    @property
    def info(self) -> SourceInfo:
        """That of the source inside."""
        return self._source.info

    @property
    def stats(self) -> DecodeStats:
        """Those of the source inside."""
        return self._source.stats

    def __enter__(self) -> Self:
        """Ask, then open; raises `SourceError`."""
        self._policy.check(self._url)
        self._source.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames of the source inside."""
        return iter(self._source)
