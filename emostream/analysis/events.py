"""The events of an analysis: to loop over, with or without an event loop, or written and summed up at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from emostream.analysis.annotated_video import AnnotatedVideo
from emostream.analysis.report import AnalysisReport, ReportPictures, table_paths
from emostream.analysis.run import RunObserver, run_all, sinks_of
from emostream.analysis.tables import EventTables
from emostream.config import Settings
from emostream.decode.source import FrameSource
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.frame import Frame
from emostream.domain.redact import shown_source
from emostream.domain.stream import StreamSpec
from emostream.domain.summary import StreamSummary
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError, EmostreamError
from emostream.files import check_is_not_source
from emostream.pipeline.build import Models
from emostream.pipeline.pipeline import EventObserver, PipelineStats
from emostream.publish.loop_thread import LoopThread
from emostream.publish.registry import urls_of
from emostream.publish.sink_group import SinkGroup
from emostream.render.overlay_style import OverlayName, OverlayStyle

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

Start: TypeAlias = "Callable[[list[StreamSpec], list[RunObserver]], Delivery]"

_MAX_WAITING = 4  # chunks of some frames; a file is read no faster than its events are taken


class Analysis:
    """What is found in sources. Nothing runs until it is asked for, and each loop reads the sources anew.

    A loop that is left early ends the reading. Of several sources one that fails does not stop the others: its error is
    raised when the events of all have come.

    Args:
        specs: the sources.
        start: begins to read them, and informs observers; the events come from what it returns.
        labels_of_model: the emotions of the model.
        has_voice: whether the settings ask for the voice; files then have its events beside them.

    Attributes:
        stats: stream id → what its last run did (frames, faces, drops), once it has ended.
    """

    def __init__(
        self,
        specs: Sequence[StreamSpec],
        *,
        start: Start,
        labels_of_model: Callable[[], Sequence[str]],
        has_voice: bool = False,
    ) -> None:
        self._specs = list(specs)
        self._start = start
        self._labels_of_model = labels_of_model
        self._has_voice = has_voice
        self.stats: dict[str, PipelineStats] = {}

    def __iter__(self) -> Iterator[EmotionEvent]:
        """Events in order for each source; works in a notebook and in any thread.

        Raises:
            SourceError: a source cannot be opened, or ended badly; the events before it have been given.
            ModelError: a model is missing or could not compute.
        """
        return self._events([])

    async def __aiter__(self) -> AsyncIterator[EmotionEvent]:
        """As `__iter__`, without blocking the event loop."""
        delivery = self._start(self._specs, [])
        try:
            while (events := await asyncio.wrap_future(delivery.next())) is not None:
                for event in events:
                    yield event
        except asyncio.CancelledError:
            if not delivery.is_closed:
                raise
        finally:
            delivery.cancel()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.shield(asyncio.wrap_future(delivery.ended))
        self.stats = delivery.result()

    def _events(self, observers: list[RunObserver]) -> Generator[EmotionEvent, None, None]:
        delivery = self._start(self._specs, observers)
        try:
            while (events := delivery.next().result()) is not None:
                yield from events
        except concurrent.futures.CancelledError:
            pass  # the analyzer was closed: `result` says so
        finally:
            delivery.cancel()
            concurrent.futures.wait([delivery.ended])
        self.stats = delivery.result()

    def summary(self) -> dict[str, StreamSummary]:
        """Stream id → who was seen, for how long, with which emotions. Reads the sources to their ends."""
        return self.save()

    def to_pandas(self) -> pd.DataFrame:
        """A table with a row per face and frame; a frame without a face is a row as well. Needs the extra `export`."""
        from emostream.publish.files.table_writer import frame_from_events

        return frame_from_events(list(self))

    def to_csv(self, path: str | Path) -> Path:
        """Write the same table as CSV; gives the path."""
        self.save(csv=path)
        return Path(path)

    def to_parquet(self, path: str | Path) -> Path:
        """Write the same table as Parquet; gives the path. Needs the extra `export`."""
        self.save(parquet=path)
        return Path(path)

    def to_jsonl(self, path: str | Path) -> Path:
        """Write the events as JSON, one a line; gives the path."""
        self.save(jsonl=path)
        return Path(path)

    def report(self, path: str | Path, *, pictures: Literal["shown", "blurred", "none"] = "shown") -> Path:
        """Write a report (HTML), with the events as tables beside it; gives the path.

        Args:
            path: its name ends with .html.
            pictures: what the report shows of people.
        """
        self.save(report=path, pictures=pictures)
        return Path(path)

    def annotate(
        self, path: str | Path, *, blur: bool = False, overlay: OverlayName = "bars", encoder: str = "auto"
    ) -> Path:
        """Write the video with boxes and emotions drawn on it; gives the path.

        Args:
            path: .mp4, .mkv or .mov.
            blur: make faces unrecognisable; a second detector then searches every frame.
            overlay: "box" draws boxes, "label" numbers and emotions as well, "bars" also probabilities of the
                largest faces.
            encoder: see `emostream analyze --help`.
        """
        self.save(annotate=path, blur=blur, overlay=overlay, encoder=encoder)
        return Path(path)

    def save(
        self,
        *,
        csv: str | Path | None = None,
        parquet: str | Path | None = None,
        jsonl: str | Path | None = None,
        report: str | Path | None = None,
        annotate: str | Path | None = None,
        pictures: Literal["shown", "blurred", "none"] = "shown",
        blur: bool = False,
        overlay: OverlayName = "bars",
        encoder: str = "auto",
    ) -> dict[str, StreamSummary]:
        """Write several files in one reading of the sources.

        Args:
            csv: table of events; the report brings one of its own.
            parquet: the same as Parquet; needs the extra `export`.
            jsonl: events as JSON, one a line.
            report: HTML; of one source only.
            annotate: annotated video; of one source only.
            pictures: see `report`.
            blur: see `annotate`.
            overlay: see `annotate`.
            encoder: see `annotate`.

        Returns:
            As `summary`.

        Raises:
            ConfigError: a file cannot be written, is the source, or a package is missing.
            SourceError, ModelError: as `__iter__`; what came before is in the files.
        """
        observers: list[RunObserver] = []
        style = OverlayStyle.of(overlay)
        for asked in (report, annotate):
            if asked is not None and len(self._specs) > 1:
                raise ConfigError(f"{asked} shows one source, got {len(self._specs)}: analyse each by itself")
        written_already: list[Path] = []
        if report is not None:
            written_already = table_paths(Path(report))
            observers.append(AnalysisReport(Path(report), pictures=ReportPictures(pictures)))
        if annotate is not None:
            observers.append(AnnotatedVideo(Path(annotate), style=style, is_blurred=blur, encoder=encoder))
        paths = [*_check_suffix(csv, ".csv"), *_check_suffix(parquet, ".parquet"), *_check_suffix(jsonl, ".jsonl")]
        for path in paths:
            for spec in self._specs:
                check_is_not_source(path, spec.url, what="the file of events")
        summaries = {spec.stream_id: StreamSummary() for spec in self._specs}
        paths = [path for path in paths if path not in written_already]
        tables = EventTables(paths, labels=self._labels_of_model())
        if self._has_voice and paths:
            observers.append(_Hearing(tables))
        num_events = 0
        try:
            with contextlib.closing(self._events(observers)) as events:
                for event in events:
                    num_events += 1
                    summaries[event.stream_id].add(event)
                    tables.add(event)
        finally:
            tables.close(is_kept=num_events > 0)
        return summaries

    def __repr__(self) -> str:
        names = ", ".join(shown_source(spec.url) for spec in self._specs[:3])
        return f"Analysis({names}{', …' if len(self._specs) > 3 else ''})"


class Delivery:
    """Hands events from the analyzer's loop to a reader in another thread or loop; a sink of the pipeline.

    Args:
        loop: in which the analysis runs.
    """

    def __init__(self, loop: LoopThread) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[Sequence[EmotionEvent]] = asyncio.Queue(_MAX_WAITING)
        self._work: asyncio.Task[dict[str, PipelineStats]] | None = None
        self.ended: concurrent.futures.Future[dict[str, PipelineStats]] = concurrent.futures.Future()

    def begin(self, work: Coroutine[Any, Any, dict[str, PipelineStats]]) -> None:
        """Run what publishes events here."""

        async def run() -> dict[str, PipelineStats]:
            self._work = asyncio.create_task(work)
            return await self._work

        self.ended = self._loop.submit(run())

    def next(self) -> concurrent.futures.Future[Sequence[EmotionEvent] | None]:
        """The next events of a source; None after the last."""
        return self._loop.submit(self._next())

    def cancel(self) -> None:
        """End the reading where it is; `ended` is set when that has happened."""

        async def cancel() -> None:
            if self._work is not None:
                self._work.cancel()

        if not self.ended.done():
            self._loop.submit(cancel())

    @property
    def is_closed(self) -> bool:
        """Whether the analyzer was closed while this ran."""
        return self.ended.cancelled()

    def result(self) -> dict[str, PipelineStats]:
        """What the runs did, per stream.

        Raises:
            EmostreamError: what went wrong, or that the analyzer was closed meanwhile.
        """
        try:
            return self.ended.result()
        except concurrent.futures.CancelledError:
            raise EmostreamError("the analysis was ended: its Analyzer was closed while it ran") from None

    async def _next(self) -> Sequence[EmotionEvent] | None:
        if self._work is None:
            raise RuntimeError("expected a delivery that has begun")
        getting = asyncio.create_task(self._queue.get())
        try:
            await asyncio.wait({getting, self._work}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            return None if self._queue.empty() else self._queue.get_nowait()
        finally:
            getting.cancel()

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Wait until the reader has taken enough of what came before."""
        await self._queue.put(events)

    async def publish_status(self, event: StatusEvent) -> None:
        """The end shows as the end of the loop, and an error is raised by it."""

    async def close(self) -> None:
        """Nothing stays open."""


async def deliver_all(
    specs: Sequence[StreamSpec],
    delivery: Delivery,
    *,
    load: Callable[[], Models],
    settings: Settings,
    observers: Sequence[RunObserver],
) -> dict[str, PipelineStats]:
    """Read files one after another and watch live sources at the same time.

    Args:
        specs: the sources.
        delivery: takes the events, beside the sinks that the settings name.
        load: gives the models; it may take seconds.
        settings: all settings.
        observers: see the frames and events of the sources.

    Returns:
        Stream id → what its run did.

    Raises:
        EmostreamError: the first that a source ended with, when all have ended; its notes tell the others.
    """
    kinds = {spec.stream_id: spec.kind for spec in specs}
    opened = sinks_of(settings.publish, urls=urls_of(settings.publish), kind_of=kinds.__getitem__)
    async with SinkGroup([delivery, *opened]) as sink:
        await sink.check()
        models = await asyncio.to_thread(load)
        results = await run_all(
            specs, settings=settings, models=models, sink=sink, observers=observers, tell=logger.warning
        )
    results.raise_first()
    return results.stats


class _Hearing:
    """Passes voice events to tables: an observer that needs no frames."""

    def __init__(self, tables: EventTables) -> None:
        self._tables = tables

    @contextlib.contextmanager
    def observing(self, spec: StreamSpec, source: FrameSource, *, settings: Settings) -> Iterator[EventObserver]:
        """See `RunObserver`."""
        yield self

    def __call__(self, frame: Frame, event: EmotionEvent) -> None:
        """Emotion events come by another way."""

    def heard(self, event: VoiceEvent) -> None:
        """See `HearingObserver`."""
        self._tables.hear(event)


def _check_suffix(path: str | Path | None, suffix: str) -> list[Path]:
    if path is None:
        return []
    if Path(path).suffix.lower() != suffix:
        raise ConfigError(f"cannot write {path}: expected a name ending in {suffix}")
    return [Path(path)]
