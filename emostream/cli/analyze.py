"""`emostream analyze`: runs sources through the whole pipeline to their ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from emostream.analysis.annotated_video import AnnotatedVideo
from emostream.analysis.report import AnalysisReport, ReportPictures
from emostream.analysis.run import Results, RunObserver, run_all, sinks_of
from emostream.analysis.sources import list_sources, specs_of
from emostream.cli.live_page import live_page
from emostream.cli.live_table import live_table
from emostream.cli.options import (
    READING,
    WRITING,
    ConfigOption,
    JsonOption,
    OverlayOption,
    PixelAspectOption,
    RedisOption,
    check_is_path,
    check_quotes,
    notes,
    screen,
    settings_for_command,
    tell,
)
from emostream.cli.tables import summary_table
from emostream.config import Settings
from emostream.decode.source import FrameSource
from emostream.domain.address import AddressError, file_path, parse_address
from emostream.domain.redact import printable, redact, shown_address
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.domain.summary import StreamSummary
from emostream.errors import ConfigError
from emostream.files import check_is_not_source
from emostream.pipeline.build import loaded_models
from emostream.pipeline.pipeline import EventObserver, PipelineStats
from emostream.publish.files.jsonl_sink import JsonlSink
from emostream.publish.files.table_sink import TableSink
from emostream.publish.files.table_writer import format_of
from emostream.publish.registry import event_files, urls_of
from emostream.publish.sink import EventSink
from emostream.publish.sink_group import SinkGroup
from emostream.render.encoder import ENCODERS
from emostream.render.overlay_style import OverlayStyle
from emostream.telemetry.collector import MetricsCollector

_MAX_TABLES = 8


def analyze(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Video files, folders, patterns, URLs (rtsp, http, rtmp, udp, v4l2, s3, …), numbers of cameras, or - "
            "for standard input. Files are read one after another, live sources at the same time.",
            metavar="SOURCE",
        ),
    ],
    *,
    json: JsonOption = False,
    redis: RedisOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write events to this file: a row per face (.csv, .parquet), or an event per line (.jsonl).",
            metavar="FILE",
            rich_help_panel=WRITING,
        ),
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="Also send events there: jsonl:FILE, parquet:FILE, webhook+https://…, kafka://…, mqtt://…, redis://…, "
            "or a plugin's scheme; beside `publish.sinks`.",
            metavar="URL",
            rich_help_panel=WRITING,
        ),
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            help="Write the video (.mp4, .mkv, .mov) with boxes and emotions drawn on it.",
            metavar="FILE",
            rich_help_panel=WRITING,
        ),
    ] = None,
    blur: Annotated[
        bool,
        typer.Option(
            "--blur",
            help="Blur faces in the annotated video; the detector then runs on every frame.",
            rich_help_panel=WRITING,
        ),
    ] = False,
    overlay: OverlayOption = None,
    encoder: Annotated[
        str,
        typer.Option(
            help=f"Encoder of the annotated video: {', '.join(ENCODERS)}; auto prefers hardware.",
            metavar="ENCODER",
            rich_help_panel=WRITING,
        ),
    ] = "auto",
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a report (.html), with the events as CSV and Parquet next to it.",
            metavar="FILE",
            rich_help_panel=WRITING,
        ),
    ] = None,
    report_pictures: Annotated[
        ReportPictures,
        typer.Option(help="Thumbnails of key moments in the report.", rich_help_panel=WRITING),
    ] = ReportPictures.SHOWN,
    show: Annotated[
        bool, typer.Option("--show", help="Open a page of this machine in the browser, with live pictures and boxes.")
    ] = False,
    stream_id: Annotated[
        str | None,
        typer.Option(help="Stream id; by default derived from SOURCE.", metavar="STREAM", rich_help_panel=READING),
    ] = None,
    kind: Annotated[
        StreamKind | None,
        typer.Option(
            help="live: keep up with time and reconnect; file: read to the end. By default from SOURCE.",
            rich_help_panel=READING,
        ),
    ] = None,
    track: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Video track to read, of several; by default the one that players show.",
            metavar="N",
            rich_help_panel=READING,
        ),
    ] = None,
    pixel_aspect: PixelAspectOption = None,
    every: Annotated[int, typer.Option(help="Process every Nth frame.", metavar="N", rich_help_panel=READING)] = 1,
    fps: Annotated[
        float | None,
        typer.Option(help="Process at most this many frames per second.", metavar="FPS", rich_help_panel=READING),
    ] = None,
    keyframes: Annotated[
        bool,
        typer.Option(
            "--keyframes",
            help="Process the key frames of files only, for a quick preview (MP4, MOV, Matroska, WebM).",
            rich_help_panel=READING,
        ),
    ] = False,
    max_frames: Annotated[
        int | None,
        typer.Option(help="Stop after this many processed frames.", metavar="N", rich_help_panel=READING),
    ] = None,
    voice: Annotated[
        bool,
        typer.Option(
            "--voice",
            help="Also measure the voice in the sound of files, and publish voice events.",
            rich_help_panel=READING,
        ),
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve Prometheus metrics on this port while it runs.", metavar="PORT"),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Find faces and emotions in a video and publish an event for each frame."""
    times = Times()
    check_quotes(sources)
    settings = settings_for_command(config, redis=redis, **_only_if(voice=voice))
    for option, path in (("--output", output), ("--annotate", annotate), ("--report", report)):
        check_is_path(path, option=option)
    _check_blur(is_blurred=blur, annotate=annotate, is_shown=show)
    if overlay is not None and annotate is None:
        raise ConfigError("--overlay needs --annotate FILE: it says what is drawn on the annotated video")
    urls_of_sources = list_sources(list(map(_path_or_camera, sources)))
    _check_addresses(urls_of_sources)
    specs = specs_of(
        urls_of_sources,
        stream_id=stream_id,
        kind=kind,
        every=every,
        target_fps=fps,
        keyframes=keyframes,
        max_frames=max_frames,
        track=track,
        pixel_aspect=pixel_aspect,
    )
    urls = [*urls_of(settings.publish), *(sink or ())]
    _check_event_files([*([] if output is None else [output]), *event_files(urls)], specs)
    if output is not None:
        _has_lines(output)  # an unknown format is an error before work starts
    if len(specs) > 1 and (annotate or report):
        raise ConfigError(f"--annotate and --report are about one source, got {len(specs)}: analyze each by itself")
    summing = Summing()
    observers: list[RunObserver] = [summing]
    if annotate is not None:
        observers.append(
            AnnotatedVideo(annotate, style=overlay or OverlayStyle.BARS, is_blurred=blur, encoder=encoder, tell=tell)
        )
    if report is not None:
        observers.append(AnalysisReport(report, pictures=report_pictures, tell=tell))
    try:
        results = asyncio.run(
            _analyze(
                specs,
                settings=settings,
                json=json,
                output=output,
                urls=urls,
                observers=observers,
                metrics_port=metrics_port,
                has_page=show,
                times=times,
            )
        )
    finally:
        if not json:
            print_people(summing.summaries)
    if not json:
        _print_closing(list(results.stats.values()), times=times, output=output)
    for error in list(results.errors.values())[1:]:
        tell(f"error: {printable(redact(str(error)))}")
    results.raise_first()


def _only_if(**switches: bool) -> dict[str, bool]:
    """The switches that are on: those that are not given must not overrule the settings."""
    return {name: True for name, is_on in switches.items() if is_on}


def _path_or_camera(source: str) -> str | int:
    return int(source) if source.isdecimal() and not Path(source).exists() else source


def _check_blur(*, is_blurred: bool, annotate: Path | None, is_shown: bool) -> None:
    if is_blurred and annotate is None:
        raise ConfigError("--blur needs --annotate FILE: it blurs faces in the annotated video")
    if is_blurred and is_shown:
        raise ConfigError("--show shows faces and --blur hides them: leave out one of them")


def _check_addresses(sources: Sequence[str]) -> None:
    """Refuse several when one is no usable address: the others may be the rest of a password that has blanks."""
    for source in sources if len(sources) > 1 else ():
        if "://" in source:
            try:
                parse_address(source)
            except AddressError as exc:
                raise ConfigError(
                    f"{shown_address(source)} is no usable address: {exc}; quote it if it has blanks"
                ) from exc


def _check_event_files(paths: Sequence[Path], specs: Sequence[StreamSpec]) -> None:
    for path in paths:
        for spec in specs:
            check_is_not_source(path, file_path(spec.url) or spec.url, what="the file of events")


async def _analyze(
    specs: Sequence[StreamSpec],
    *,
    settings: Settings,
    json: bool,
    output: Path | None,
    urls: Sequence[str],
    observers: Sequence[RunObserver],
    metrics_port: int | None,
    has_page: bool,
    times: Times,
) -> Results:
    sinks: list[EventSink] = []
    if json:
        sinks.append(JsonlSink.to_stdout())
    if output is not None:
        sinks.append(JsonlSink.to_file(output) if _has_lines(output) else TableSink(output))
    kinds = {spec.stream_id: spec.kind for spec in specs}
    sinks += sinks_of(settings.publish, urls=urls, kind_of=kinds.__getitem__)
    collector = MetricsCollector(has_stream_label=settings.metrics.stream_label)
    # Events on the same terminal would scroll the table away.
    is_shown = notes.is_terminal and not (json and screen.is_terminal)
    with (
        _serving_metrics(collector, host=settings.metrics.host, port=metrics_port),
        live_page(tell=tell) if has_page else contextlib.nullcontext() as page,
    ):
        async with SinkGroup(sinks) as sink:
            await sink.check()  # a wrong URL is found before work starts
            with loaded_models(settings) as models, live_table(num_sources=len(specs), is_shown=is_shown) as table:
                times.ready = time.perf_counter()
                results = await run_all(
                    specs,
                    settings=settings,
                    models=models,
                    sink=sink,
                    observers=[*observers, table, *([] if page is None else [page])],
                    collector=collector,
                    tell=tell,
                )
        times.ended = time.perf_counter()
    return results


def _has_lines(output: Path) -> bool:
    """Whether events are written to a file as JSON Lines: by its name, or because it has none, such as a pipe."""
    return not output.suffix or format_of(output) == ".jsonl"


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


class Summing:
    """Fills a summary for each stream while events come."""

    def __init__(self) -> None:
        self.summaries: dict[str, StreamSummary] = {}

    @contextlib.contextmanager
    def observing(self, spec: StreamSpec, source: FrameSource, *, settings: Settings) -> Iterator[EventObserver]:
        """Around the run of a stream."""
        summary = self.summaries[spec.stream_id] = StreamSummary()
        yield lambda frame, event: summary.add(event)


def print_people(summaries: Mapping[str, StreamSummary]) -> None:
    """A table of the appearances in each source, or a sentence where there were none."""
    analysed = {stream_id: summary for stream_id, summary in summaries.items() if summary.num_events}
    for stream_id, summary in itertools.islice(analysed.items(), _MAX_TABLES):
        if summary.tracks:
            screen.print(summary_table(summary, title=f"{stream_id}: {summary.head_count}"))
        else:
            screen.print(f"{stream_id}: no face found in {summary.num_events} frames", markup=False)
    if len(analysed) > _MAX_TABLES:
        screen.print(f"and {len(analysed) - _MAX_TABLES} more sources; --output FILE keeps the events of all")


@dataclass(slots=True)
class Times:
    """Moments of a run, in seconds of `time.perf_counter`.

    Attributes:
        started: of the command.
        ready: models are loaded and sinks answer; None before.
        ended: sources are read and sinks are closed; None before.
    """

    started: float = field(default_factory=time.perf_counter)
    ready: float | None = None
    ended: float | None = None


def _print_closing(runs: Sequence[PipelineStats], *, times: Times, output: Path | None) -> None:
    num_frames, num_faces = sum(run.num_frames for run in runs), sum(run.num_faces for run in runs)
    if num_frames and times.ready is not None and times.ended is not None:
        running, whole = (num_frames / max(times.ended - since, 1e-9) for since in (times.ready, times.started))
        notes.print(
            f"{num_frames} frames, {num_faces} faces: {running:.0f} frames/s, {whole:.0f} frames/s with start-up"
        )
    if output is not None and output.exists():
        notes.print(f"events: {output}", markup=False, soft_wrap=True)
