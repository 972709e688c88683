"""The benchmarks measure what they say; no test asserts a speed."""

from __future__ import annotations

import io
import json
import os
import time
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from emostream.cli.bench.engine import bench_classifier, bench_detector
from emostream.cli.bench.live import LiveBenchmark, Load, Share, benchmark_from, search_limit
from emostream.cli.bench.paced_source import PacedSource
from emostream.cli.bench.plot import plot_sweep
from emostream.cli.bench.scaling import WAYS, bench_scaling
from emostream.cli.bench.tables import live_table, scaling_table
from emostream.config import DecodeSettings, Settings
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import ConfigError
from emostream.pipeline.pipeline import PipelineStats
from emostream.vision.classify.batcher import BatchStats
from tests import media
from tests.vision.detect.real_model import centerface_path


def _source(path: Path, *, num_frames: int, fps: float = 200.0) -> PacedSource:
    spec = StreamSpec(stream_id="live", url=str(path), kind=StreamKind.LIVE)
    starts_at = time.monotonic() + 0.05
    return PacedSource(spec, settings=DecodeSettings(), fps=fps, num_frames=num_frames, starts_at=starts_at)


def test_a_clip_is_played_again_and_again_in_real_time(tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "clip.mp4", num_frames=10)
    source = _source(clip, num_frames=25)
    started = time.monotonic()
    with source:
        frames = list(source)

    assert time.monotonic() - started >= 24 / 200, "no frame comes before its time"
    assert [frame.frame_index for frame in frames] == list(range(25))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([index / 200 for index in range(25)])
    gray = [round(float(frame.full_luma(frame.luma).mean())) for frame in frames]
    assert gray[:5] == gray[10:15] == gray[20:25], "after the end it begins again"
    assert source.stats.num_decoded == 25
    captured = [frame.captured_at for frame in frames]
    assert captured == sorted(captured)


def test_closing_ends_the_waiting(tmp_path: Path) -> None:
    source = _source(media.make_clip(tmp_path / "clip.mp4"), num_frames=1000, fps=0.001)
    with source:
        frames = iter(source)
        next(frames)
        source.close()
        assert next(frames, None) is None


def _result(num_streams: int) -> LiveBenchmark:
    latency_ms = {"p50": 10.0 * num_streams, "p95": 30.0, "p99": 50.0}
    return LiveBenchmark(
        num_streams=num_streams,
        fps=25.0,
        seconds=5.0,
        num_processes=1,
        faces_per_frame=2.0,
        published_fps=25.0,
        num_dropped=0,
        num_unclassified=3,
        latency_ms=latency_ms,
        mean_batch_size=3.0,
        cpu_ratio=1.0,
        memory_mb=300.0,
        memory_mb_by_minute=[300],
        memory_growth_mb=0.5,
        is_sustained=False,
    )


def test_memory_is_reported_by_the_minute_and_as_growth() -> None:
    share = Share(
        stats=[PipelineStats()],
        ages_ms=array("d", [10.0]),
        num_events=1,
        num_faces=1,
        batches=BatchStats(),
        cpu_seconds=1.0,
        wall_seconds=90.0,
        memory_bytes=[100_000_000] * 60 + [160_000_000] * 30,
        models={},
    )
    result = benchmark_from([share], load=Load([Path("clip.mp4")], Settings(), num_streams=1, fps=25, seconds=90))
    assert (result.memory_mb, result.memory_mb_by_minute, result.memory_growth_mb) == (160, [100, 160], 40.0)


def test_the_plot_is_a_picture_or_one_message(tmp_path: Path) -> None:
    plot_sweep([_result(1), _result(2)], path=tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError):
        plot_sweep([_result(1)], path=tmp_path / "missing" / "sweep.png")


@given(st.integers(0, 200))
def test_the_sweep_finds_the_limit_and_asks_for_no_number_twice(limit: int) -> None:
    asked: list[int] = []

    def is_sustained(number: int) -> bool:
        asked.append(number)
        return number <= limit

    assert search_limit(is_sustained) == limit
    assert len(asked) == len(set(asked)) <= 2 * limit.bit_length() + 1


@pytest.mark.integration
def test_engines_are_measured_by_arithmetic_and_size() -> None:
    centerface_path()  # skips where there is no detector
    crops = bench_classifier(Settings(), seconds=0.001)
    frames = bench_detector(Settings(), seconds=0.001)
    assert {figure.num_items for figure in crops} == {1, 2, 4, 8, 16, 32}
    assert {figure.what for figure in frames} == {"480×270", "640×360", "1280×720", "1920×1080"}
    for figure in [*crops, *frames]:
        assert figure.per_second == pytest.approx(1000 * figure.num_items / figure.milliseconds, rel=0.01)


@pytest.mark.integration
def test_scaling_measures_every_number_of_cores_each_way(tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "clip.mp4", num_frames=10)
    result = bench_scaling(clip, settings=Settings(), num_runs=2)
    cores = [scaled.num_cores for scaled in result.by_cores]
    assert cores[0] == 1 and cores == sorted(set(cores)) and cores[-1] == len(os.sched_getaffinity(0))
    for scaled in result.by_cores:
        assert set(scaled.frames_per_second) == set(scaled.times) == set(scaled.runs) == set(WAYS)
        assert all(len(rates) == 2 and min(rates) > 0 for rates in scaled.runs.values())
    assert set(result.by_cores[0].times.values()) == {1.0}
    assert json.loads(json.dumps(result.as_dict()))["models"]["classifier"]["sha256"]
    printed = Console(width=160, record=True, file=io.StringIO())
    printed.print(scaling_table(result))
    text = printed.export_text()
    assert "4 streams at once" in text and "a process per core" in text


def test_figures_of_live_streams_stay_whole_on_80_columns() -> None:
    latency_ms = {"p50": 238.0, "p95": 1898.0, "p99": 2165.0}
    result = LiveBenchmark(
        16, 25.0, 1260.0, 1, 2.0, 24.9, 10_429, 3_752, latency_ms, 12.5, 1.98, 1305, [], 117.2, False
    )
    console = Console(width=80, file=io.StringIO())
    console.print(live_table([result]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "…" not in text and "+117.2" in text
