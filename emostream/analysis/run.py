"""One source through the whole pipeline, to its end: for the command line and for Python programs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from emostream.config import PublishSettings, Settings
from emostream.decode.open_source import open_source
from emostream.decode.source import FrameSource
from emostream.domain.event import EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.redact import redact
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.domain.summary import StreamSummary
from emostream.pipeline.build import Models, build_pipeline
from emostream.pipeline.pipeline import EventObserver, PipelineStats
from emostream.publish.registry import OpenedFor, open_redis_sink, open_sinks
from emostream.publish.sink import EventSink
from emostream.telemetry.collector import MetricsCollector, live_source_of
from emostream.telemetry.logs import STREAM_ID
from emostream.telemetry.open_tracer import open_tracer

Tell = Callable[[str], None]
"""Takes a line for people: what was written, what became of a camera. Credentials are masked in it."""


class RunObserver(Protocol):
    """Makes something of the frames and events of a run: a report, a video, a progress bar."""

    def observing(
        self, spec: StreamSpec, source: FrameSource, *, settings: Settings
    ) -> AbstractContextManager[EventObserver]:
        """Around the run; the source is open at the first frame. What is made is complete when it is left."""
        ...


def sinks_of(
    settings: PublishSettings, *, urls: Sequence[str], kind_of: Callable[[str], StreamKind]
) -> list[EventSink]:
    """The sinks of an analysis: the Redis of the settings, and others.

    Args:
        settings: of publishing.
        urls: of the other sinks.
        kind_of: live or file, by stream id.

    Raises:
        ConfigError: a URL cannot be used, a package is missing, or a file cannot be made.
    """
    sinks: list[EventSink] = []
    if settings.redis_url is not None:
        sinks.append(open_redis_sink(settings, redis_url=settings.redis_url.get_secret_value(), kind_of=kind_of))
    return [*sinks, *open_sinks(urls, OpenedFor(settings, "analyze", kind_of))]


class Summing:
    """Fills a summary while events come."""

    def __init__(self, summary: StreamSummary) -> None:
        self._summary = summary

    @contextlib.contextmanager
    def observing(self, spec: StreamSpec, source: FrameSource, *, settings: Settings) -> Iterator[EventObserver]:
        """Around the run."""
        yield lambda frame, event: self._summary.add(event)


async def run_analysis(
    spec: StreamSpec,
    *,
    settings: Settings,
    models: Models,
    sink: EventSink,
    epoch: int,
    observers: Sequence[RunObserver] = (),
    collector: MetricsCollector | None = None,
    tell: Tell | None = None,
) -> PipelineStats:
    """Run a source to its end into a sink.

    Args:
        spec: what to read.
        settings: all settings.
        models: shared, not closed.
        sink: where events go; not closed.
        epoch: names this run of the stream.
        observers: see each frame with its event.
        collector: is told of the parts, for metrics.
        tell: is told when a camera goes away and comes back.

    Raises:
        SourceError: the source cannot be opened, or ended badly.
        ModelError: a batch could not be computed.
        PublishError: events could not be delivered.
        ConfigError: an observer cannot write its file.
    """
    token = STREAM_ID.set(spec.stream_id)
    try:

        def tell_state(state: StreamState, detail: str) -> None:
            if tell is not None:
                tell(f"{state.value} {redact(detail)}".strip())

        # A camera must be there at first, but may go away later.
        source = open_source(spec, settings=settings.decode, on_state=tell_state, gives_up_unopened=True)
        if collector is not None:
            collector.watch_classifier(models.classifier)
            collector.watch_source(spec.stream_id, source, live=live_source_of(source))
            sink = collector.measured(sink)
        with (
            open_tracer(settings.tracing, instance_id=f"analyze-{epoch}") as tracer,
            contextlib.ExitStack() as stack,
        ):
            observing = [
                stack.enter_context(observer.observing(spec, source, settings=settings)) for observer in observers
            ]

            def observe(frame: Frame, event: EmotionEvent) -> None:
                for single in observing:
                    single(frame, event)

            pipeline = build_pipeline(
                spec,
                settings=settings,
                models=models,
                sink=sink,
                epoch=epoch,
                source=source,
                on_event=observe if observing else None,
                tracer=tracer,
            )
            return await pipeline.run()
    finally:
        STREAM_ID.reset(token)
