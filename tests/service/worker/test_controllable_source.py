"""A gate changes the pace of a source while it runs, and leaves out what an earlier run has published."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from emostream.decode.resuming import ResumePoint
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.service.worker.controllable_source import ControllableSource, without_sampling
from emostream.testing.fakes import ScriptedSource, gray_frames
from tests.media import wait_until


def spec_of(
    kind: StreamKind = StreamKind.FILE, *, every: int = 1, fps: float | None = None, most: int | None = None
) -> StreamSpec:
    return StreamSpec("test", "clip.mp4", kind, every=every, target_fps=fps, max_frames=most)


def gated(
    num_frames: int = 50, *, spec: StreamSpec, is_paused: bool = False, after: int | None = None
) -> ControllableSource:
    source = ScriptedSource(gray_frames(num_frames, fps=25), kind=spec.kind)
    point = None if after is None else ResumePoint(after, pts_seconds=after / 25)
    return ControllableSource(source, spec=spec, is_paused=is_paused, after=point)


def indexes(frames: Iterator[Frame] | ControllableSource) -> list[int]:
    return [frame.frame_index for frame in frames if frame.is_published]


def test_the_spec_applies_at_the_gate() -> None:
    spec = spec_of(every=2, fps=5, most=4)
    assert without_sampling(spec) == spec_of()
    with gated(spec=spec) as source:
        assert indexes(source) == [0, 4, 10, 14]
        assert source.stats.num_skipped == 11


def test_frames_of_a_live_source_are_counted_by_its_pipeline() -> None:
    with gated(num_frames=9, spec=spec_of(StreamKind.LIVE, most=4)) as source:
        assert indexes(source) == list(range(9))


@pytest.mark.parametrize("after", [None, -1, 0, 7, 60])
@pytest.mark.parametrize(
    "spec", [spec_of(), spec_of(every=3, most=5), spec_of(fps=10, most=9)], ids=["all", "every", "fps"]
)
def test_going_on_after_a_frame_gives_what_an_unbroken_run_gives(spec: StreamSpec, after: int | None) -> None:
    with gated(spec=spec) as whole, gated(spec=spec, after=after) as rest:
        assert indexes(rest) == [index for index in indexes(whole) if index > (-1 if after is None else after)]


def test_the_rate_changes_while_it_runs() -> None:
    with gated(spec=spec_of()) as source:
        frames = iter(source)
        assert indexes(next(frames) for _ in range(10)) == list(range(10))
        source.adjust(spec_of(fps=5), is_paused=False)
        assert len(indexes(frames)) == 9


@pytest.mark.parametrize("most", [1, 5, 10, 12])
def test_the_limit_of_a_file_is_lowered_below_what_was_processed(most: int) -> None:
    with gated(spec=spec_of(most=40)) as source:
        frames = iter(source)
        assert len(indexes(next(frames) for _ in range(10))) == 10
        source.adjust(spec_of(most=most), is_paused=False)
        assert indexes(frames) == list(range(10, max(most, 10)))


def test_a_paused_live_source_leaves_frames_out() -> None:
    spec = spec_of(StreamKind.LIVE)
    with gated(spec=spec) as source:
        frames = iter(source)
        next(frames)
        source.adjust(spec, is_paused=True)
        assert indexes(frames) == []
        assert source.stats.num_skipped == 49


def test_a_paused_file_waits_and_loses_nothing() -> None:
    spec, got = spec_of(), list[int]()
    with gated(spec=spec, is_paused=True) as source:
        thread = threading.Thread(target=lambda: got.extend(indexes(source)))
        thread.start()
        assert not got
        source.adjust(spec, is_paused=False)
        thread.join(5)
    assert got == list(range(50))


def test_closing_ends_a_pause() -> None:
    source = gated(spec=spec_of(), is_paused=True)
    with source:
        thread = threading.Thread(target=lambda: indexes(source))
        thread.start()
        source.close()
        assert wait_until(lambda: not thread.is_alive())
