"""`emostream bench`: benchmarks, each with a reference in the same run."""

from __future__ import annotations

import contextlib
import json as json_format
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from emostream.cli.bench.agreement import measure_agreement
from emostream.cli.bench.compare import compare_with
from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.cli.bench.engine import EngineFigure, bench_classifier, bench_detector
from emostream.cli.bench.gpu import bench_gpu
from emostream.cli.bench.hard_clip import make_hard_clip
from emostream.cli.bench.live import LiveBenchmark, bench_live, sweep_live
from emostream.cli.bench.machine import describe_detector, describe_machine
from emostream.cli.bench.plot import plot_pipeline, plot_sweep
from emostream.cli.bench.scaling import bench_scaling
from emostream.cli.bench.service import bench_service, bench_shared_calls
from emostream.cli.bench.tables import (
    agreement_table,
    call_costs_table,
    compare_table,
    engine_table,
    gpu_tables,
    live_table,
    pipeline_tables,
    reuse_table,
    scaling_table,
    service_table,
)
from emostream.cli.bench.throughput import PipelineBenchmark, bench_pipeline
from emostream.cli.options import ConfigOption, JsonOption, OldOutOption, notes, settings_for_command
from emostream.config import Settings
from emostream.render.looped import MIN_SECONDS, looped

bench_app = typer.Typer(help="Measure the performance of this machine.", no_args_is_help=True)
console = Console(highlight=False)

VideosArgument = Annotated[
    list[Path] | None, typer.Argument(help="Video files; by default a clip is generated.", metavar="VIDEO")
]
PipelineVideosArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Video files; by default two clips are generated: an easy one, whose faces glide, and a hard one, whose "
        "faces turn and speak, with cuts.",
        metavar="VIDEO",
    ),
]
LengthOption = Annotated[
    float,
    typer.Option(min=0, help="Repeat shorter clips until they are this long; 0 takes them as they are.", metavar="S"),
]
RunsOption = Annotated[int, typer.Option(min=1, help="Number of runs; medians are printed.", metavar="N")]
FpsOption = Annotated[float, typer.Option(help="Frames per second of each stream.", metavar="FPS")]
SecondsOption = Annotated[float, typer.Option(help="Duration of each measurement.", metavar="SECONDS")]
ProcessesOption = Annotated[int, typer.Option(min=1, help="Number of processes that share the streams.", metavar="N")]
PlotOption = Annotated[Path | None, typer.Option(help="Write a plot (PNG) to this file.", metavar="FILE")]
# About two seconds of work, so that start and end hardly affect the rate.
_RATE_FRAMES = 1000
_STANDARD_CLIPS = ((640, 360, 4, _RATE_FRAMES), (1920, 1080, 3, 600))  # width, height, faces, frames


@bench_app.command(epilog="Example: emostream bench pipeline clip.mp4 --plot stages.png")
def pipeline(
    videos: PipelineVideosArgument = None,
    *,
    runs: RunsOption = 5,
    min_seconds: LengthOption = MIN_SECONDS,
    plot: PlotOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure frames per second of the pipeline and of decoding alone, and CPU time per stage, frame and face."""
    settings = settings_for_command(config)
    with _long_clips(videos, min_seconds=min_seconds) as clips:
        results = [_bench_pipeline(clip, settings=settings, runs=runs) for clip in clips]
    if plot is not None:
        plot_pipeline(results, path=plot)
    if json:
        # A single clip gives a single object, which most callers expect.
        _print_json(results[0].as_dict() if len(results) == 1 else [result.as_dict() for result in results])
    else:
        for result in results:
            console.print(*pipeline_tables(result))


@bench_app.command(epilog="Example: emostream bench compare HEAD~1 clip.mp4")
def compare(
    ref: Annotated[str, typer.Argument(help="Commit to compare with: a name of Git.", metavar="COMMIT")],
    videos: PipelineVideosArgument = None,
    *,
    rounds: Annotated[
        int, typer.Option(min=1, help="Measurements of each commit, in turn; medians are printed.", metavar="N")
    ] = 5,
    min_seconds: LengthOption = MIN_SECONDS,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Compare the speed of this Git checkout with that of another commit: both in turn, on the same clips."""
    settings_for_command(config)  # refuse a wrong file now
    with _long_clips(videos, min_seconds=min_seconds) as clips:
        results = compare_with(ref, clips, config=config, num_rounds=rounds)
    if json:
        _print_json([result.as_dict() for result in results])
    else:
        for result in results:
            console.print(compare_table(result))


@bench_app.command(epilog="Example: emostream bench scaling --runs 5")
def scaling(
    videos: VideosArgument = None, *, runs: RunsOption = 3, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Measure one process on 1, 2, 4, … cores, compared with as many single-core processes (Linux)."""
    with _clips_or_made(videos, num_faces=4, num_frames=_RATE_FRAMES) as clips:
        result = bench_scaling(clips[0], settings=settings_for_command(config), num_runs=runs)
    if json:
        _print_json(result.as_dict())
    else:
        console.print(scaling_table(result))


@bench_app.command(epilog="Example: emostream bench live --streams 8 --seconds 30")
def live(
    videos: VideosArgument = None,
    *,
    streams: Annotated[int, typer.Option(min=1, help="Number of simulated cameras.", metavar="N")] = 4,
    fps: FpsOption = 25.0,
    seconds: SecondsOption = 15.0,
    processes: ProcessesOption = 1,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Simulate cameras; measure latency from capture to Redis, dropped frames and memory growth."""
    settings = settings_for_command(config)
    with _clips_or_made(videos, num_faces=2) as clips:
        result = bench_live(
            clips,
            settings=settings,
            num_streams=streams,
            fps=fps,
            seconds=seconds,
            num_processes=min(processes, streams),
        )
    if json:
        _print_json(result.as_dict())
    else:
        console.print(live_table([result]))


@bench_app.command(epilog="Example: emostream bench sweep --plot latency.png")
def sweep(
    videos: VideosArgument = None,
    *,
    fps: FpsOption = 25.0,
    seconds: SecondsOption = 15.0,
    processes: ProcessesOption = 1,
    plot: PlotOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find the largest number of live streams without dropped frames and with p99 latency ≤ 120 ms."""
    settings = settings_for_command(config)
    with _clips_or_made(videos, num_faces=2) as clips:
        results = _swept(clips, settings=settings, fps=fps, seconds=seconds, processes=processes)
    if plot is not None:
        plot_sweep(results, path=plot)
    if json:
        _print_json([result.as_dict() for result in results])
    else:
        console.print(live_table(results))


@bench_app.command(epilog="Example: emostream bench service --streams 8")
def service(
    videos: VideosArgument = None,
    *,
    files: Annotated[int, typer.Option(min=1, help="Copies of the clip processed at the same time.", metavar="N")] = 4,
    streams: Annotated[int, typer.Option(min=1, help="Number of simulated cameras.", metavar="N")] = 4,
    seconds: SecondsOption = 15.0,
    runs: RunsOption = 3,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared",
            help="Measure what a crop costs a worker instead: classified at home, and by a shared classifier that "
            "answers at once.",
        ),
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure the overhead of the service over the plain pipeline, its start-up and its response times."""
    settings = settings_for_command(config)
    if shared:
        costs = bench_shared_calls(settings, num_streams=streams, seconds=seconds)
        if json:
            _print_json(costs)
        else:
            console.print(call_costs_table(costs))
        return
    with _clips_or_made(videos, num_faces=2, num_frames=1500) as clips:
        result = bench_service(
            clips[0], settings=settings, num_files=files, num_streams=streams, seconds=seconds, num_runs=runs
        )
    if json:
        _print_json(result.as_dict())
    else:
        console.print(service_table(result))


@bench_app.command(epilog="Example: emostream bench classifier")
def classifier(*, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Measure the classifier: crops per second by precision and batch size, on one thread."""
    figures = bench_classifier(settings_for_command(config))
    if json:
        _print_json({"machine": describe_machine(), "figures": [asdict(figure) for figure in figures]})
    else:
        console.print(engine_table(figures, title="classifier, one thread", item="crop"))


@bench_app.command(epilog="Example: emostream bench detector")
def detector(*, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Measure the detector: frames per second by precision and frame size, on one thread."""
    settings = settings_for_command(config)
    figures = bench_detector(settings)
    if json:
        machine = describe_machine() | {"detector": describe_detector(settings)}
        _print_json({"machine": machine, "figures": [asdict(figure) for figure in figures]})
    else:
        console.print(engine_table(figures, title="detector, one thread", item="frame"))


@bench_app.command(epilog="Example: emostream bench gpu --file gpu.json")
def gpu(
    *,
    file: Annotated[Path | None, typer.Option(help="Write the results (JSON) to this file.", metavar="FILE")] = None,
    seconds: Annotated[float, typer.Option(help="Duration of each measurement.", metavar="SECONDS")] = 1.0,
    max_seconds: Annotated[float, typer.Option(help="Begin no step after this time.", metavar="SECONDS")] = 200.0,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Build, verify and measure the engines of this machine's GPU, and its video decoder, in a few minutes.

    Throughput by batch size with its share of the card's FP16 peak, latency of four crops against 8 ms, and streams
    that the card decodes. The exit code is 1 when a step failed.
    """
    settings = settings_for_command(config)
    result = bench_gpu(settings, seconds=seconds, max_seconds=max_seconds, progress=notes.print)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_json(result.as_dict(), file)
    if json:
        _print_json(result.as_dict())
    else:
        console.print(*gpu_tables(result))
        for line in (*result.notes, *result.failures):
            notes.print(line)
    if result.failures:
        raise typer.Exit(1)


@bench_app.command(epilog="Example: emostream bench agreement faces.mp4")
def agreement(
    videos: Annotated[list[Path], typer.Argument(help="Video files with real faces.", metavar="VIDEO")],
    *,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Compare boxes, landmarks and emotions with those of FP32 detection on every frame, and those of the crops that
    are classified with those of every crop."""
    settings = settings_for_command(config)
    results = [measure_agreement(video, settings=settings) for video in videos]
    if json:
        _print_json([result.as_dict() for result in results])
    else:
        console.print(agreement_table(results), reuse_table(results))


@bench_app.command(name="all", epilog="Example: emostream bench all --folder bench-output")
def all_of_them(
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Video files to measure beside the generated clips.", metavar="VIDEO")
    ] = None,
    *,
    folder: Annotated[Path, typer.Option(help="Folder for the results (JSON and plots).", metavar="FOLDER")] = Path(
        "bench-output"
    ),
    runs: RunsOption = 3,
    seconds: SecondsOption = 15.0,
    config: ConfigOption = None,
    out: OldOutOption = None,
) -> None:
    """Run the standard set: pipeline on generated clips and those given, engines, live streams."""
    settings = settings_for_command(config)
    results_folder = out or folder
    results_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as clips_folder:
        clips = [_make_clip(Path(clips_folder), *clip[:3], num_frames=clip[3]) for clip in _STANDARD_CLIPS]
        clips.append(_make_hard_clip(Path(clips_folder)))
        clips += [looped(video, folder=Path(clips_folder)) for video in videos or ()]
        results = [_bench_pipeline(clip, settings=settings, runs=runs) for clip in clips]
        _show_pipelines(results, folder=results_folder)
        scaled = bench_scaling(clips[0], settings=settings, num_runs=runs)
        console.print(scaling_table(scaled))
        engines = [
            (name, measure(settings)) for name, measure in (("crop", bench_classifier), ("frame", bench_detector))
        ]
        _show_engines(engines, folder=results_folder)
        streams = _swept([_make_clip(Path(clips_folder), 640, 360, 2)], settings=settings, fps=25.0, seconds=seconds)
    console.print(live_table(streams))
    plot_sweep(streams, path=results_folder / "sweep.png")
    _write_json([result.as_dict() for result in streams], results_folder / "sweep.json")
    _write_json(scaled.as_dict(), results_folder / "scaling.json")
    notes.print(f"results: {results_folder}")


def _show_pipelines(results: Sequence[PipelineBenchmark], *, folder: Path) -> None:
    for result in results:
        console.print(*pipeline_tables(result))
    plot_pipeline(results, path=folder / "pipeline.png")
    _write_json([result.as_dict() for result in results], folder / "pipeline.json")


def _show_engines(measured: Sequence[tuple[str, Sequence[EngineFigure]]], *, folder: Path) -> None:
    for item, figures in measured:
        console.print(engine_table(figures, title=f"{item}s, one thread", item=item))
    _write_json({item: [asdict(figure) for figure in figures] for item, figures in measured}, folder / "engines.json")


def _swept(
    clips: Sequence[Path], *, settings: Settings, fps: float, seconds: float, processes: int = 1
) -> list[LiveBenchmark]:
    def show(result: LiveBenchmark) -> None:
        verdict = "sustained" if result.is_sustained else "too many"
        notes.print(
            f"{result.num_streams} streams: p99 {result.latency_ms['p99']} ms, {result.num_dropped} dropped, "
            f"{result.num_unclassified} not classified: {verdict}"
        )

    return sweep_live(clips, settings=settings, fps=fps, seconds=seconds, num_processes=processes, on_result=show)


@contextlib.contextmanager
def _clips_or_made(videos: Sequence[Path] | None, *, num_faces: int, num_frames: int = 300) -> Iterator[list[Path]]:
    if videos:
        yield list(videos)
        return
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder:
        yield [_make_clip(Path(folder), 640, 360, num_faces, num_frames=num_frames)]


@contextlib.contextmanager
def _long_clips(videos: Sequence[Path] | None, *, min_seconds: float) -> Iterator[list[Path]]:
    """The given clips, repeated where they are too short, or an easy and a hard one."""
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as name:
        folder = Path(name)
        if videos:
            yield [looped(video, folder=folder, min_seconds=min_seconds) for video in videos]
        else:
            yield [_make_clip(folder, 640, 360, 4, num_frames=_RATE_FRAMES), _make_hard_clip(folder)]


def _bench_pipeline(clip: Path, *, settings: Settings, runs: int) -> PipelineBenchmark:
    result = bench_pipeline(clip, settings=settings, num_runs=runs)
    if not result.faces_per_frame:
        notes.print(f"{clip.name}: no face was found, so only decoding and searching were measured")
    return result


def _make_hard_clip(folder: Path) -> Path:
    clip = folder / "made-hard-640x360.mp4"
    notes.print("generating a hard clip of 500 frames, 640×360, 1 to 4 faces")
    make_hard_clip(clip)
    return clip


def _make_clip(folder: Path, width: int, height: int, num_faces: int, *, num_frames: int = 300) -> Path:
    clip = folder / f"made-{width}x{height}-{num_faces}-faces.mp4"
    notes.print(f"generating a clip of {num_frames} frames, {width}×{height}, {num_faces} faces")
    make_demo_clip(clip, num_frames=num_frames, width=width, height=height, num_faces=num_faces)
    return clip


def _print_json(report: Any) -> None:
    typer.echo(json_format.dumps(report, indent=2))


def _write_json(report: Any, path: Path) -> None:
    path.write_text(json_format.dumps(report, indent=2) + os.linesep, encoding="utf-8")
