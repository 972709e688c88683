"""Plots benchmark results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emostream.cli.bench.live import MAX_P99_MS, LiveBenchmark
from emostream.cli.bench.throughput import PipelineBenchmark
from emostream.errors import ConfigError


def plot_pipeline(results: Sequence[PipelineBenchmark], *, path: Path) -> None:
    """Plot CPU time per stage, one bar per clip, with the speed relative to decoding alone, as PNG.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 1.5 + 0.7 * len(results)))
    names = [f"{Path(result.video).name}\n{result.ratio:.0%} of decoding" for result in results]
    left = [0.0] * len(results)
    for stage in results[0].stages:
        costs = [result.stages[stage].mean for result in results]
        axes.barh(names, costs, left=left, label=stage)
        left = [start + cost for start, cost in zip(left, costs, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="processor milliseconds per frame")
    axes.legend(ncols=len(results[0].stages), loc="upper center", bbox_to_anchor=(0.5, -0.25), fontsize="small")
    _save(figure, path)


def plot_sweep(results: Sequence[LiveBenchmark], *, path: Path) -> None:
    """Plot latency percentiles and dropped frames by number of streams, as PNG.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    pyplot = _pyplot()
    numbers = [result.num_streams for result in results]
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 6), height_ratios=(3, 1))
    for percentile, style in (("p50", "o-"), ("p95", "s--"), ("p99", "^:")):
        above.plot(numbers, [result.latency_ms[percentile] for result in results], style, label=percentile)
    above.axhline(MAX_P99_MS, color="gray", linewidth=1)
    above.set(yscale="log", ylabel="capture to Redis, ms", title=f"live streams at {results[0].fps:g} frames/s")
    above.legend()
    below.bar(numbers, [result.num_dropped for result in results], color="#d55e00", label="dropped")
    unclassified = [result.num_unclassified for result in results]
    below.bar(
        numbers, unclassified, bottom=[result.num_dropped for result in results], color="#e69f00", label="unscored"
    )
    below.set(xlabel="streams", ylabel="frames")
    below.legend()
    _save(figure, path)


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as exc:
        raise ConfigError("plots need matplotlib: run `pip install 'emostream[demo]'`") from exc
    return pyplot


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=120, bbox_inches="tight")
    except OSError as exc:
        raise ConfigError(f"cannot write plot {path}: {exc.strerror}; choose a file in a writable folder") from exc
    finally:
        _pyplot().close(figure)
