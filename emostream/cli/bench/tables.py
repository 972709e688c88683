"""Formats the results of `emostream bench` as tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from emostream.cli.bench.agreement import Agreement
from emostream.cli.bench.compare import Comparison
from emostream.cli.bench.engine import EngineFigure, as_rows
from emostream.cli.bench.gpu import GpuBenchmark
from emostream.cli.bench.live import LiveBenchmark
from emostream.cli.bench.scaling import WAYS, ScalingBenchmark
from emostream.cli.bench.service import ServiceBenchmark
from emostream.cli.bench.throughput import PipelineBenchmark


def pipeline_tables(result: PipelineBenchmark) -> tuple[Table, Table]:
    """A table of rates and a table of CPU time per stage."""
    rates = Table(
        title=f"{result.video}: {result.num_frames} frames {result.width}×{result.height}, "
        f"{result.faces_per_frame:.2f} faces per frame"
    )
    rates.add_column("frames per second")
    rates.add_column("median", justify="right")
    rates.add_column("runs", justify="right")
    for name, median, each in (
        ("decode only", result.decode_frames_per_second, result.decode_frames_per_second_runs),
        ("whole pipeline", result.frames_per_second, result.frames_per_second_runs),
    ):
        rates.add_row(name, f"{median:.0f}", " ".join(f"{rate:.0f}" for rate in each))
    rates.add_row("pipeline / decode", f"{result.ratio:.1%}", "")
    latency = " ".join(f"{name} {value:.0f}" for name, value in result.latency_ms.items())
    rates.add_row("decoded to published, ms", "", latency)

    costs = Table(
        title=f"CPU milliseconds per frame; {result.searches_per_second:.1f} searches per second, "
        f"{result.classified_share:.0%} of the faces classified"
    )
    costs.add_column("stage")
    for column in ("mean", "p50", "p95", "p99", "per face"):
        costs.add_column(column, justify="right")
    for stage, cost in result.stages.items():
        of_face = result.cpu_ms_per_face.get(stage)
        row = [f"{value:.2f}" for value in (cost.mean, cost.p50, cost.p95, cost.p99)]
        costs.add_row(stage, *row, "" if of_face is None else f"{of_face:.2f}")
    total = sum(cost.mean for cost in result.stages.values())
    costs.add_row("sum of the stages", f"{total:.2f}", end_section=True)
    costs.add_row("pipeline, with its threads", f"{result.cpu_ms_per_frame:.2f}")
    costs.add_row("decode only", f"{result.decode_cpu_ms_per_frame:.2f}")
    return rates, costs


def compare_table(result: Comparison) -> Table:
    """One row per figure of a clip in both commits."""
    table = Table(
        title=f"{result.video}, {result.faces_per_frame:.2f} faces per frame; rounds of both: {result.num_rounds}"
    )
    table.add_column("CPU milliseconds per frame")
    for column in (result.ref, "now", "change"):
        table.add_column(column, justify="right")
    names = {"cpu_ms_per_frame": "pipeline, with its threads", "frames_per_second": "frames per second"}
    for name, figure in result.figures.items():
        digits = 0 if name == "frames_per_second" else 2
        told = "pipeline / decode" if name == "ratio" else names.get(name, name.removeprefix("stage."))
        row = [f"{value:.1%}" if name == "ratio" else f"{value:.{digits}f}" for value in (figure.before, figure.after)]
        table.add_row(told, *row, f"{figure.change - 1:+.1%}", end_section=name == "ratio")
    return table


def live_table(results: Sequence[LiveBenchmark]) -> Table:
    """One row per number of streams."""
    first = results[0]
    table = Table(
        title=f"live, {first.fps:g} frames/s each, {first.faces_per_frame:.1f} faces per frame, "
        f"{first.seconds:g} s, processes: {max(result.num_processes for result in results)}",
        box=box.SIMPLE_HEAD,  # narrow, so that numbers fit into 80 columns
        padding=(0, 1, 0, 0),
    )
    for column in (
        "streams",
        "per s\neach",
        "drop-\nped",
        "un-\nscored",
        "p50\nms",
        "p95\nms",
        "p99\nms",
        "crops/\nbatch",
        "cores",
        "MB",
        "MB\nmore",
        "",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            str(result.num_streams),
            f"{result.published_fps:.1f}",
            str(result.num_dropped),
            str(result.num_unclassified),
            *(f"{result.latency_ms[name]:.0f}" for name in ("p50", "p95", "p99")),
            f"{result.mean_batch_size:.1f}",
            f"{result.cpu_ratio:.2f}",
            f"{result.memory_mb:.0f}",
            f"{result.memory_growth_mb:+.1f}",
            "[green]✓[/]" if result.is_sustained else "[red]✗[/]",
        )
    return table


def engine_table(figures: Sequence[EngineFigure], *, title: str, item: str) -> Table:
    """One row per engine and batch or frame size."""
    table = Table(title=title)
    for column in ("engine", "", "ms per call", f"ms per {item}", f"{item}s/s"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for row in as_rows(figures):
        table.add_row(*row)
    return table


def call_costs_table(costs: Mapping[str, Any]) -> Table:
    """What a crop costs a worker, at home and shared."""
    load = f"{costs['num_streams']} streams, {costs['fps']:g} frames/s, {costs['faces_per_frame']} faces"
    table = _table(f"processor time of a worker per crop: {load}", "", "ms")
    table.add_row("classified at home", f"{costs['at_home_ms']:.2f}")
    table.add_row("sent to a classifier that answers at once", f"{costs['shared_ms']:.2f}")
    table.add_row("ratio", f"{costs['ratio']:.2f}")
    table.add_row("calls per second", f"{costs['shared_calls_per_second']:.0f}")
    for name, value in costs["shared_latency_ms"].items():
        table.add_row(f"answer, {name}", f"{value:.1f}")
    return table


def gpu_tables(result: GpuBenchmark) -> list[Table]:
    """Builds, throughput by batch, latency by load, and decoding."""
    peak = "peak not known" if result.peak_half_tflops is None else f"peak {result.peak_half_tflops} TFLOPS in FP16"
    builds = _table(f"{', '.join(result.gpus)}: {peak}", "engine", "model", "build s", "MB")
    for build in result.builds:
        builds.add_row(build["engine"], build["model"], str(build["seconds"]), f"{build['size_bytes'] / 1e6:.1f}")
    batches = _table("throughput", "engine", "model", "batch", "ms per call", "per second", "of the peak")
    for figure in result.batches:
        share = "–" if figure.peak_share is None else f"{figure.peak_share:.1%}"
        row = (str(figure.batch), f"{figure.milliseconds:.2f}", f"{figure.per_second:.0f}", share)
        batches.add_row(figure.engine, figure.model, *row)
    latency = _table("latency of four crops", "engine", "crops/s", "p50 ms", "p99 ms", "within 8 ms")
    for load in result.deadlines:
        verdict = "yes" if load.is_met else "no"
        latency.add_row(
            load.engine, f"{load.crops_per_second:.0f}", f"{load.p50_ms:.1f}", f"{load.p99_ms:.1f}", verdict
        )
    decoding = _table("decoding", "video", "decoder", "frames/s", "streams at 25 fps")
    for size, found in result.decoding.items():
        decoding.add_row(size, found["decoder"], f"{found['frames_per_second']:.0f}", str(found["streams_at_25_fps"]))
    return [builds, batches, latency, decoding]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column)
    return table


def agreement_table(results: Sequence[Agreement]) -> Table:
    """One row per clip: boxes, landmark error in eye distances, faces with the same emotion, smoothed and raw."""
    table = Table(title="fast path compared with FP32 on every frame", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("clip", overflow="fold", min_width=12)  # other columns are narrow, so that numbers fit
    for column in (
        "faces",
        "miss-\ning",
        "ex-\ntra",
        "lost\ns",
        "IoU",
        "land-\nmarks",
        "emotion",
        "raw",
        "search\nper s",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            result.video,
            str(result.num_faces),
            str(result.num_missing),
            str(result.num_extra),
            f"{result.longest_loss_seconds:.2f}",
            f"{result.mean_iou:.3f}",
            f"{result.mean_landmark_error:.1%}",
            f"{result.same_dominant_share:.1%}",
            f"{result.same_frame_emotion_share:.1%}",
            f"{result.searches_per_second:.1f}",
        )
    return table


def reuse_table(results: Sequence[Agreement]) -> Table:
    """One row per clip: what it costs not to classify every crop, for files and for live streams."""
    table = Table(title="compared with every crop classified", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("clip", overflow="fold", min_width=12)
    for column in ("crops", "emotion", "mean\nchange", "live:\ncrops", "emotion", "mean\nchange"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in results:
        cells = [
            (f"{cost.classified_share:.0%}", f"{cost.same_dominant_share:.1%}", f"{cost.mean_probability_change:.4f}")
            for cost in (result.reuse, result.live_reuse)
        ]
        table.add_row(result.video, *itertools.chain(*cells))
    return table


def scaling_table(result: ScalingBenchmark) -> Table:
    """One row per way to run the clip, two columns per number of cores."""
    table = Table(title=f"{result.video}: frames per second by cores")
    table.add_column("")
    for scaled in result.by_cores:
        table.add_column(f"{scaled.num_cores} core{'s' * (scaled.num_cores > 1)}", justify="right")
        table.add_column("speed-up", justify="right")
    for way in WAYS:
        cells = [(f"{scaled.frames_per_second[way]:.0f}", f"{scaled.times[way]:.2f}") for scaled in result.by_cores]
        table.add_row(way, *itertools.chain(*cells))
    return table


def service_table(result: ServiceBenchmark) -> Table:
    """The service compared with the plain pipeline, and its response times."""
    table = Table(title="one stream worker on Ray, with Redis on this machine", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows = (
        (f"{result.num_files} files at once, plain, frames/s", _median(result.plain_fps, result.plain_fps_runs)),
        (f"{result.num_files} files at once, service, frames/s", _median(result.service_fps, result.service_fps_runs)),
        ("loss of throughput in the service", f"{result.cost_ratio:.1%}"),
        ("start to ready", f"{result.ready_seconds:.1f} s"),
        ("first key frame to first event over HTTP", f"{result.first_event_seconds:.1f} s"),
        (
            f"{result.num_streams} cameras, frames/s each (sent {result.camera_fps:g})",
            f"{result.live_fps:.1f}, {result.num_dropped} dropped",
        ),
        ("capture to Redis, slowest camera, mean", f"{result.latency_ms:.0f} ms"),
        (
            f"{result.api_requests} read requests at 50 per second",
            ", ".join(f"{name} {value:.0f} ms" for name, value in result.api_ms.items()),
        ),
    )
    for row in rows:
        table.add_row(*row)
    return table


def _median(value: float, runs: Sequence[float]) -> str:
    return f"{value:.0f} ({', '.join(f'{rate:.0f}' for rate in runs)})"
