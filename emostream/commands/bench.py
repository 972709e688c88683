"""`emostream bench`: measurements, each beside a reference in the same run."""

from __future__ import annotations

import json as json_format
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emostream.bench import PipelineBenchmark, bench_pipeline
from emostream.commands.options import ConfigOption, JsonOption, notes, settings_for_command
from emostream.demo_clip import make_demo_clip

bench_app = typer.Typer(help="Measure this machine.", no_args_is_help=True)


@bench_app.callback()
def _bench() -> None:
    """Measure this machine."""


@bench_app.command()
def pipeline(
    video: Annotated[Path | None, typer.Argument(help="Clip; by default one is made.", metavar="VIDEO")] = None,
    *,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each; medians are printed.")] = 3,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Frames per second of the whole pipeline beside decoding alone, and milliseconds per stage."""
    settings = settings_for_command(config)
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder:
        if video is None:
            video = Path(folder) / "bench-640x360.mp4"
            notes.print("making a clip of 300 frames, 640×360, 4 faces")
            make_demo_clip(video, num_frames=300, num_faces=4)
        result = bench_pipeline(video, settings=settings, num_runs=runs)
    if json:
        typer.echo(json_format.dumps(result.as_dict(), indent=2))
    else:
        _print(result)


def _print(result: PipelineBenchmark) -> None:
    console = Console(highlight=False)
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
