"""`emostream bench`: measurements, each beside a reference in the same run."""

from __future__ import annotations

import contextlib
import json as json_format
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emostream.bench.engine import EngineFigure, as_rows, bench_classifier, bench_detector
from emostream.bench.live import LiveBenchmark, bench_live, sweep_live
from emostream.bench.machine import describe_machine
from emostream.bench.plot import plot_sweep
from emostream.bench.throughput import PipelineBenchmark, bench_pipeline
from emostream.commands.options import ConfigOption, JsonOption, notes, settings_for_command
from emostream.demo_clip import make_demo_clip

bench_app = typer.Typer(help="Measure this machine.", no_args_is_help=True)
console = Console(highlight=False)

VideoArgument = Annotated[Path | None, typer.Argument(help="Clip; by default one is made.", metavar="VIDEO")]
FpsOption = Annotated[float, typer.Option(help="Frames per second of each stream.")]
SecondsOption = Annotated[float, typer.Option(help="How long each measurement lasts.")]


@bench_app.command()
def pipeline(
    video: VideoArgument = None,
    *,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each; medians are printed.")] = 3,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Frames per second of the whole pipeline beside decoding alone, and milliseconds per stage."""
    settings = settings_for_command(config)
    with _clip_or_made(video, num_faces=4) as clip:
        result = bench_pipeline(clip, settings=settings, num_runs=runs)
    if json:
        typer.echo(json_format.dumps(result.as_dict(), indent=2))
    else:
        _print_pipeline(result)


@bench_app.command()
def live(
    video: VideoArgument = None,
    *,
    streams: Annotated[int, typer.Option(min=1, help="Cameras at the same time.")] = 4,
    fps: FpsOption = 25.0,
    seconds: SecondsOption = 15.0,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Play a clip as several cameras; latency from capture to Redis, and frames dropped."""
    settings = settings_for_command(config)
    with _clip_or_made(video, num_faces=2) as clip:
        result = bench_live([clip], settings=settings, num_streams=streams, fps=fps, seconds=seconds)
    if json:
        typer.echo(json_format.dumps(result.as_dict(), indent=2))
    else:
        console.print(_live_table([result]))


@bench_app.command()
def sweep(
    video: VideoArgument = None,
    *,
    fps: FpsOption = 25.0,
    seconds: SecondsOption = 15.0,
    plot: Annotated[Path | None, typer.Option(help="Write a plot to this PNG file.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find the largest number of live streams without drops and with p99 ≤ 120 ms."""
    settings = settings_for_command(config)

    def show(result: LiveBenchmark) -> None:
        verdict = "sustained" if result.is_sustained else "too many"
        notes.print(
            f"{result.num_streams} streams: p99 {result.latency_ms['p99']} ms, {result.num_dropped} dropped: {verdict}"
        )

    with _clip_or_made(video, num_faces=2) as clip:
        results = sweep_live([clip], settings=settings, fps=fps, seconds=seconds, on_result=show)
    if plot is not None:
        plot_sweep(results, path=plot)
    if json:
        typer.echo(json_format.dumps([result.as_dict() for result in results], indent=2))
    else:
        console.print(_live_table(results))


@bench_app.command()
def classifier(*, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Crops per second by batch size, on one thread."""
    _show_engine(bench_classifier(settings_for_command(config)), title="classifier, one thread", item="crop", json=json)


@bench_app.command()
def detector(*, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Frames per second by frame size, on one thread."""
    _show_engine(bench_detector(settings_for_command(config)), title="detector, one thread", item="frame", json=json)


@contextlib.contextmanager
def _clip_or_made(video: Path | None, *, num_faces: int) -> Iterator[Path]:
    if video is not None:
        yield video
        return
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder:
        made = Path(folder) / "made-640x360.mp4"
        notes.print(f"making a clip of 300 frames, 640×360, {num_faces} faces")
        make_demo_clip(made, num_frames=300, num_faces=num_faces)
        yield made


def _show_engine(figures: Sequence[EngineFigure], *, title: str, item: str, json: bool) -> None:
    if json:
        report = {"machine": describe_machine(), "figures": [asdict(figure) for figure in figures]}
        typer.echo(json_format.dumps(report, indent=2))
        return
    table = Table(title=title)
    for column in ("", "ms per call", f"ms per {item}", f"{item}s/s"):
        table.add_column(column, justify="right")
    for row in as_rows(figures):
        table.add_row(*row)
    console.print(table)


def _live_table(results: Sequence[LiveBenchmark]) -> Table:
    table = Table(title=f"live, {results[0].fps:g} frames/s each, {results[0].faces_per_frame:.1f} faces per frame")
    columns = (
        "streams",
        "published/s each",
        "dropped",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "crops per batch",
        "cores",
        "MB",
        "",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            str(result.num_streams),
            f"{result.published_fps:.1f}",
            str(result.num_dropped),
            *(f"{result.latency_ms[name]:.0f}" for name in ("p50", "p95", "p99")),
            f"{result.mean_batch_size:.1f}",
            f"{result.cpu_ratio:.2f}",
            f"{result.memory_mb:.0f}",
            "[green]✓[/]" if result.is_sustained else "[red]✗[/]",
        )
    return table


def _print_pipeline(result: PipelineBenchmark) -> None:
    table = Table(title=f"{result.video}: {result.num_frames} frames, {result.faces_per_frame:.2f} faces per frame")
    table.add_column("what")
    table.add_column("median", justify="right")
    table.add_column("runs", justify="right")
    for name, median, each in (
        ("decode only, frames/s", result.decode_frames_per_second, result.decode_frames_per_second_runs),
        ("whole pipeline, frames/s", result.frames_per_second, result.frames_per_second_runs),
    ):
        table.add_row(name, f"{median:.0f}", " ".join(f"{rate:.0f}" for rate in each))
    table.add_row("pipeline / decode", f"{result.ratio:.1%}", "")
    for stage, milliseconds in result.stage_ms_per_frame.items():
        table.add_row(f"{stage}, ms per frame", f"{milliseconds:.2f}", "")
    console.print(table)
