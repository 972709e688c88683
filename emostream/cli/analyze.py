"""`emostream analyze`: one source through the whole pipeline, to its end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emostream.cli.analysis_report import AnalysisReport, ReportPictures
from emostream.cli.annotated_video import AnnotatedVideo
from emostream.cli.options import (
    ConfigOption,
    JsonOption,
    RedisOption,
    check_is_not_source,
    notes,
    screen,
    settings_for_command,
)
from emostream.cli.tables import summary_table
from emostream.config import DecodeSettings, Settings
from emostream.decode.backoff import Backoff
from emostream.decode.live_source import LiveSource
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.source import FrameSource
from emostream.domain.event import EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.redact import redact
from emostream.domain.stream import StreamKind, StreamSpec, StreamState, stream_id_from_url, stream_kind_of
from emostream.domain.summary import StreamSummary
from emostream.errors import ConfigError
from emostream.pipeline.build import build_pipeline, load_models, new_epoch
from emostream.pipeline.pipeline import EventObserver, PipelineStats
from emostream.publish.files.jsonl_sink import JsonlSink
from emostream.publish.redis.sink import RedisSink
from emostream.publish.registry import open_redis_sink, open_sink
from emostream.publish.sink import EventSink
from emostream.publish.sink_group import SinkGroup
from emostream.render.encoder import ENCODERS
from emostream.telemetry.collector import MetricsCollector, live_source_of
from emostream.telemetry.logs import STREAM_ID
from emostream.telemetry.open_tracer import open_tracer

_WATCHDOG_GRACE_SECONDS = 5.0  # FFmpeg's own time-outs come first and say more


class RunObserver(Protocol):
    """Something that is made of the frames and events of a run."""

    def observing(
        self, spec: StreamSpec, source: FrameSource, *, settings: Settings
    ) -> AbstractContextManager[EventObserver]:
        """Around the run; the source is open at the first frame. What is made is complete when it is left."""
        ...


def analyze(
    source: Annotated[
        str, typer.Argument(help="Video file or URL (rtsp, http, rtmp, udp, v4l2, s3, …).", metavar="SOURCE")
    ],
    *,
    json: JsonOption = False,
    redis: RedisOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Write events to this file as JSON Lines.", metavar="FILE")
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(help="Also send events there: jsonl:FILE, parquet:FILE, webhook+https://…, or a plugin's scheme."),
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(help="Write the video (.mp4, .mkv, .mov) with boxes and emotions drawn on it.", metavar="FILE"),
    ] = None,
    blur: Annotated[
        bool, typer.Option("--blur", help="Blur faces in the annotated video; the detector then runs on every frame.")
    ] = False,
    encoder: Annotated[
        str,
        typer.Option(
            help=f"Encoder of the annotated video: {', '.join(ENCODERS)}; auto prefers hardware.", metavar="NAME"
        ),
    ] = "auto",
    report: Annotated[
        Path | None,
        typer.Option(help="Write a report (.html), with the events as CSV and Parquet next to it.", metavar="FILE"),
    ] = None,
    report_pictures: Annotated[
        ReportPictures, typer.Option(help="Thumbnails of key moments in the report.")
    ] = ReportPictures.SHOWN,
    stream_id: Annotated[
        str | None, typer.Option(help="Stream id; by default derived from SOURCE.", metavar="STREAM")
    ] = None,
    every: Annotated[int, typer.Option(help="Process every Nth frame.", metavar="N")] = 1,
    fps: Annotated[
        float | None, typer.Option(help="Process at most this many frames per second.", metavar="FPS")
    ] = None,
    max_frames: Annotated[int | None, typer.Option(help="Stop after this many processed frames.", metavar="N")] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve Prometheus metrics on this port while it runs.", metavar="PORT"),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Find faces and emotions in a video and publish an event for each frame."""
    settings = settings_for_command(config, redis=redis)
    if blur and annotate is None:
        raise ConfigError("--blur needs --annotate FILE: it blurs faces in the annotated video")
    for path in _event_files(output, sink or ()):
        check_is_not_source(path, source, what="the file of events")
    observers: list[RunObserver] = []
    if annotate is not None:
        observers.append(AnnotatedVideo(annotate, is_blurred=blur, encoder=encoder))
    if report is not None:
        observers.append(AnalysisReport(report, pictures=report_pictures))
    spec = StreamSpec(
        stream_id=stream_id or stream_id_from_url(source),
        url=source,
        kind=stream_kind_of(source),
        every=every,
        target_fps=fps,
        max_frames=max_frames,
    )
    summary = StreamSummary()
    started = time.perf_counter()
    try:
        stats = asyncio.run(
            _analyze(
                spec,
                settings=settings,
                json=json,
                output=output,
                urls=sink or (),
                observers=observers,
                summary=summary,
                metrics_port=metrics_port,
            )
        )
    finally:
        if not json and summary.num_events:
            screen.print(summary_table(summary, title=f"People in {spec.stream_id}"))
    if not json:
        _print_closing(stats, seconds=time.perf_counter() - started, output=output)


def _event_files(output: Path | None, urls: Sequence[str]) -> list[Path]:
    """The files that events are written to."""
    named = [url.partition(":")[2] for url in urls if url.startswith(("jsonl:", "parquet:"))]
    return [*([] if output is None else [output]), *map(Path, named)]


async def _analyze(
    spec: StreamSpec,
    *,
    settings: Settings,
    json: bool,
    output: Path | None,
    urls: Sequence[str],
    observers: Sequence[RunObserver],
    summary: StreamSummary,
    metrics_port: int | None,
) -> PipelineStats:
    sinks: list[EventSink] = []
    if json:
        sinks.append(JsonlSink.to_stdout())
    if output is not None:
        sinks.append(JsonlSink.to_file(output))
    if settings.publish.redis_url is not None:
        redis_url = settings.publish.redis_url.get_secret_value()
        async with RedisSink(settings.publish, redis_url=redis_url):
            pass  # a wrong URL is found before work starts
        sinks.append(open_redis_sink(settings.publish, redis_url=redis_url, kind_of=lambda _: spec.kind))
    sinks += [open_sink(url, settings=settings.publish) for url in urls]
    collector = MetricsCollector(has_stream_label=settings.metrics.stream_label)
    for single in sinks:
        collector.watch_sink(single)
    with _serving_metrics(collector, host=settings.metrics.host, port=metrics_port):
        return await run_analysis(
            spec,
            settings=settings,
            sink=SinkGroup(sinks),
            summary=summary,
            epoch=new_epoch(),
            observers=observers,
            collector=collector,
        )


@contextlib.contextmanager
def _serving_metrics(collector: MetricsCollector, *, host: str, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    try:
        from emostream.telemetry.prometheus import serving_metrics
    except ImportError as exc:
        raise ConfigError(
            f"metrics need a package that is not installed ({exc.name}): pip install 'emostream[serve]'"
        ) from exc
    with serving_metrics(collector.collect, host=host, port=port) as chosen:
        notes.print(f"metrics: http://{host}:{chosen}/metrics", markup=False)
        yield


async def run_analysis(
    spec: StreamSpec,
    *,
    settings: Settings,
    sink: EventSink,
    summary: StreamSummary,
    epoch: int,
    observers: Sequence[RunObserver] = (),
    progress: bool = True,
    collector: MetricsCollector | None = None,
) -> PipelineStats:
    """Run a source to its end into a sink, which is closed afterwards.

    Args:
        spec: what to read.
        settings: all settings.
        sink: where events go.
        summary: filled while events come.
        epoch: names this run of the stream.
        observers: see each frame with its event as well.
        progress: show a bar on standard error, where that is a terminal.
        measurement: told of the parts, for metrics.
    """
    STREAM_ID.set(spec.stream_id)
    try:
        models = load_models(settings)
        try:
            source = _source_of(spec, settings=settings.decode)
            if collector is not None:
                collector.watch_classifier(models.classifier)
                collector.watch_source(spec.stream_id, source, live=live_source_of(source))
                sink = collector.measured(sink)
            with (
                open_tracer(settings.tracing, instance_id=f"analyze-{epoch}") as tracer,
                contextlib.ExitStack() as stack,
                _progress(spec, source, is_shown=progress) as advance,
            ):
                observing = [
                    stack.enter_context(observer.observing(spec, source, settings=settings)) for observer in observers
                ]

                def observe(frame: Frame, event: EmotionEvent) -> None:
                    summary.add(event)
                    advance()
                    for observe_too in observing:
                        observe_too(frame, event)

                pipeline = build_pipeline(
                    spec,
                    settings=settings,
                    models=models,
                    sink=sink,
                    epoch=epoch,
                    source=source,
                    on_event=observe,
                    tracer=tracer,
                )
                return await pipeline.run()
        finally:
            models.close()
    finally:
        await sink.close()


def _source_of(spec: StreamSpec, *, settings: DecodeSettings) -> FrameSource:
    """A live source must open at once, but comes back when it goes away later."""
    if spec.kind is StreamKind.FILE:
        return PyAVSource(spec, settings=settings)

    def tell(state: StreamState, detail: str) -> None:
        notes.print(f"{state.value} {redact(detail)}".strip(), markup=False, soft_wrap=True)

    return LiveSource(
        lambda: PyAVSource(spec, settings=settings),
        backoff=Backoff(random.Random()),  # noqa: S311  # not security: it spreads reconnections
        open_stall_seconds=settings.open_timeout_seconds + _WATCHDOG_GRACE_SECONDS,
        read_stall_seconds=settings.read_timeout_seconds + _WATCHDOG_GRACE_SECONDS,
        on_state=tell,
        gives_up_unopened=True,
        max_frames=spec.max_frames,
    )


@contextlib.contextmanager
def _progress(spec: StreamSpec, source: FrameSource, *, is_shown: bool) -> Iterator[Callable[[], None]]:
    """A bar on standard error where that is a terminal; its total is known once the source is open."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes, disable=not (is_shown and notes.is_terminal), transient=True) as progress:
        bar = progress.add_task(spec.stream_id, total=None)

        def advance() -> None:
            if progress.tasks[0].total is None:
                progress.update(bar, total=_expected_frames(spec, source))
            progress.advance(bar)

        yield advance


def _expected_frames(spec: StreamSpec, source: FrameSource) -> float | None:
    if spec.kind is StreamKind.LIVE:
        return spec.max_frames
    total = source.info.num_frames
    if total is not None:
        total = -(-total // spec.every)
        if spec.target_fps is not None and source.info.declared_fps is not None:
            total = round(total * min(1.0, spec.target_fps * spec.every / source.info.declared_fps))
    if spec.max_frames is not None:
        return min(spec.max_frames, total or spec.max_frames)
    return total


def _print_closing(stats: PipelineStats, *, seconds: float, output: Path | None) -> None:
    rate = stats.num_frames / seconds if seconds else 0.0
    notes.print(f"{stats.num_frames} frames, {stats.num_faces} faces, {rate:.0f} frames/s with start-up")
    if output is not None and output.exists():
        notes.print(f"events: {output}", markup=False, soft_wrap=True)
