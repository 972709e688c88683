"""`emostream analyze`: runs one source through the whole pipeline to its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emostream.analysis.annotated_video import AnnotatedVideo
from emostream.analysis.report import AnalysisReport, ReportPictures
from emostream.analysis.run import RunObserver, Summing, run_analysis, sinks_of
from emostream.cli.options import (
    ConfigOption,
    JsonOption,
    RedisOption,
    notes,
    screen,
    settings_for_command,
    tell,
)
from emostream.cli.tables import summary_table
from emostream.config import Settings
from emostream.decode.source import FrameSource
from emostream.domain.address import file_path
from emostream.domain.event import EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec, stream_id_from_url, stream_kind_of
from emostream.domain.summary import StreamSummary
from emostream.errors import ConfigError
from emostream.files import check_is_not_source
from emostream.pipeline.build import loaded_models, new_epoch
from emostream.pipeline.pipeline import EventObserver, PipelineStats
from emostream.publish.files.jsonl_sink import JsonlSink
from emostream.publish.registry import event_files, urls_of
from emostream.publish.sink import EventSink
from emostream.publish.sink_group import SinkGroup
from emostream.render.encoder import ENCODERS
from emostream.telemetry.collector import MetricsCollector


def analyze(
    source: Annotated[
        str,
        typer.Argument(
            help="Video file, URL (rtsp, http, rtmp, udp, v4l2, s3, …), or - for standard input.", metavar="SOURCE"
        ),
    ],
    *,
    json: JsonOption = False,
    redis: RedisOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Write events to this file as JSON Lines.", metavar="FILE")
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="Also send events there: jsonl:FILE, parquet:FILE, webhook+https://…, kafka://…, mqtt://…, redis://…, "
            "or a plugin's scheme; beside `publish.sinks`.",
            metavar="URL",
        ),
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
    kind: Annotated[
        StreamKind | None,
        typer.Option(help="live: keep up with time and reconnect; file: read to the end. By default from SOURCE."),
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
    urls = [*urls_of(settings.publish), *(sink or ())]
    for path in [*([] if output is None else [output]), *event_files(urls)]:
        check_is_not_source(path, file_path(source) or source, what="the event file")
    summary = StreamSummary()
    observers: list[RunObserver] = [Summing(summary), ProgressBar()]
    if annotate is not None:
        observers.append(AnnotatedVideo(annotate, is_blurred=blur, encoder=encoder, tell=tell))
    if report is not None:
        observers.append(AnalysisReport(report, pictures=report_pictures, tell=tell))
    spec = StreamSpec(
        stream_id=stream_id or stream_id_from_url(source),
        url=source,
        kind=kind or stream_kind_of(source),
        every=every,
        target_fps=fps,
        max_frames=max_frames,
    )
    started = time.perf_counter()
    try:
        stats = asyncio.run(
            _analyze(
                spec,
                settings=settings,
                json=json,
                output=output,
                urls=urls,
                observers=observers,
                metrics_port=metrics_port,
            )
        )
    finally:
        if not json and summary.num_events:
            screen.print(summary_table(summary, title=f"People in {spec.stream_id}"))
    if not json:
        _print_closing(stats, seconds=time.perf_counter() - started, output=output)


async def _analyze(
    spec: StreamSpec,
    *,
    settings: Settings,
    json: bool,
    output: Path | None,
    urls: Sequence[str],
    observers: Sequence[RunObserver],
    metrics_port: int | None,
) -> PipelineStats:
    sinks: list[EventSink] = []
    if json:
        sinks.append(JsonlSink.to_stdout())
    if output is not None:
        sinks.append(JsonlSink.to_file(output))
    sinks += sinks_of(settings.publish, urls=urls, kind_of=lambda _: spec.kind)
    collector = MetricsCollector(has_stream_label=settings.metrics.stream_label)
    with _serving_metrics(collector, host=settings.metrics.host, port=metrics_port):
        async with SinkGroup(sinks) as sink:
            await sink.check()  # report a wrong URL before any work
            with loaded_models(settings) as models:
                return await run_analysis(
                    spec,
                    settings=settings,
                    models=models,
                    sink=sink,
                    epoch=new_epoch(),
                    observers=observers,
                    collector=collector,
                    tell=tell,
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


class ProgressBar:
    """A progress bar on standard error, where that is a terminal. The total is known once the source is open."""

    @contextlib.contextmanager
    def observing(self, spec: StreamSpec, source: FrameSource, *, settings: Settings) -> Iterator[EventObserver]:
        """Show the bar during the run."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=notes, disable=not notes.is_terminal, transient=True) as progress:
            bar = progress.add_task(spec.stream_id, total=None)

            def observe(frame: Frame, event: EmotionEvent) -> None:
                if progress.tasks[0].total is None:
                    progress.update(bar, total=_expected_frames(spec, source))
                progress.advance(bar)

            yield observe


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
    notes.print(f"{stats.num_frames} frames, {stats.num_faces} faces, {rate:.0f} frames/s including start-up")
    if output is not None and output.exists():
        notes.print(f"events: {output}", markup=False, soft_wrap=True)
