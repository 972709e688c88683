"""Benchmarks as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emostream.bench.live import MAX_P99_MS, LiveBenchmark
from emostream.errors import ConfigError


def plot_sweep(results: Sequence[LiveBenchmark], *, path: Path) -> None:
    """Latency percentiles and dropped frames by number of streams, as a PNG.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as exc:
        raise ConfigError("plots need matplotlib: run `pip install 'emostream[demo]'`") from exc
    numbers = [result.num_streams for result in results]
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 6), height_ratios=(3, 1))
    for percentile, style in (("p50", "o-"), ("p95", "s--"), ("p99", "^:")):
        above.plot(numbers, [result.latency_ms[percentile] for result in results], style, label=percentile)
    above.axhline(MAX_P99_MS, color="gray", linewidth=1)
    above.set(yscale="log", ylabel="capture to Redis, ms", title=f"live streams at {results[0].fps:g} frames/s")
    above.legend()
    below.bar(numbers, [result.num_dropped for result in results], color="#d55e00")
    below.set(xlabel="streams", ylabel="frames dropped")
    try:
        figure.savefig(path, dpi=120, bbox_inches="tight")
    except OSError as exc:
        raise ConfigError(f"cannot write plot {path}: {exc.strerror}; give a file in a writable folder") from exc
    finally:
        pyplot.close(figure)
