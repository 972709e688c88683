"""Sources through the whole pipeline, to their ends: for the command line and for Python programs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from emostream.config import PublishSettings, Settings
from emostream.decode.open_source import open_source
from emostream.decode.source import FrameSource
from emostream.domain.event import EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.redact import redact
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.domain.voice import VoiceEvent
from emostream.errors import EmostreamError, SourceError
from emostream.pipeline.build import Models, build_pipeline, new_epoch
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


@runtime_checkable
class HearingObserver(Protocol):
    """What an observer gives around the run, where it takes voice events as well."""

    def heard(self, event: VoiceEvent) -> None:
        """Take a voice event, in order, in a worker thread."""
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


@dataclass(frozen=True, slots=True)
class Results:
    """What became of several sources.

    Attributes:
        stats: stream id → what its run did.
        errors: stream id → what its source ended with, in the order in which that happened.
    """

    stats: dict[str, PipelineStats] = field(default_factory=dict)
    errors: dict[str, SourceError] = field(default_factory=dict)

    def raise_first(self) -> None:
        """Raise the first error, with the others as notes."""
        first, *others = self.errors.values() or [None]
        if first is not None:
            for other in others:
                first.add_note(f"and: {other}")
            raise first


async def run_all(
    specs: Sequence[StreamSpec],
    *,
    settings: Settings,
    models: Models,
    sink: EventSink,
    observers: Sequence[RunObserver] = (),
    collector: MetricsCollector | None = None,
    tell: Tell | None = None,
) -> Results:
    """Read files one after another and watch live sources at the same time, all to their ends.

    A source that fails does not stop the others. Arguments are those of `run_analysis`.

    Raises:
        ModelError, PublishError, ConfigError: as `run_analysis`; no source can go on.
    """
    results = Results()

    async def read_in_turn(in_turn: Iterable[StreamSpec]) -> None:
        for spec in in_turn:
            try:
                results.stats[spec.stream_id] = await run_analysis(
                    spec,
                    settings=settings,
                    models=models,
                    sink=sink,
                    epoch=new_epoch(),
                    observers=observers,
                    collector=collector,
                    tell=tell,
                )
            except SourceError as exc:
                results.errors[spec.stream_id] = exc

    live = [spec for spec in specs if spec.kind is StreamKind.LIVE]
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read_in_turn(spec for spec in specs if spec.kind is StreamKind.FILE))
            for spec in live:
                group.create_task(read_in_turn([spec]))
    except* EmostreamError as errors:
        raise errors.exceptions[0] from errors
    return results


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
        collector: gets the parts, for metrics.
        tell: called when a camera goes away and comes back.

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

            made: Sequence[object] = observing
            hearing = [each for each in made if isinstance(each, HearingObserver)]

            def hear(event: VoiceEvent) -> None:
                for single in hearing:
                    single.heard(event)

            pipeline = build_pipeline(
                spec,
                settings=settings,
                models=models,
                sink=sink,
                epoch=epoch,
                source=source,
                on_event=observe if observing else None,
                on_voice=hear if hearing else None,
                tracer=tracer,
                has_voice=settings.voice,
            )
            return await pipeline.run()
    finally:
        STREAM_ID.reset(token)
