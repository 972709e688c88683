"""The clips of the benchmarks: long enough, in order, and with faces that change."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from emostream.cli.bench.clips import looped, make_hard_clip
from emostream.errors import SourceRejectedError
from tests import media


def _frames(path: Path) -> list[tuple[float, float]]:
    with av.open(str(path)) as container:
        return [(float(frame.time or 0), float(frame.to_ndarray(format="gray").mean())) for frame in container.decode()]


def test_a_short_clip_is_repeated_with_times_that_go_on(tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "clip.mp4", num_frames=10)
    long = looped(clip, folder=tmp_path, min_seconds=1.0)

    once, frames = _frames(clip), _frames(long)
    times = [at for at, _ in frames]
    assert times[-1] >= 1.0 - 0.05
    assert len(frames) % 10 == 0
    assert times == sorted(set(times))
    assert max(later - earlier for earlier, later in zip(times, times[1:], strict=False)) < 0.06
    grays = [gray for _, gray in frames]
    assert grays[:10] == grays[10:20] == [gray for _, gray in once]


def test_a_long_clip_is_taken_as_it_is(tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "clip.mp4", num_frames=10)
    assert looped(clip, folder=tmp_path, min_seconds=0.2) == clip
    assert looped(clip, folder=tmp_path, min_seconds=0) == clip


@pytest.mark.parametrize("content", [b"", b"no video at all"], ids=["empty", "text"])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceRejectedError, match=r"clip\.mp4"):
        looped(path, folder=tmp_path)


def test_the_hard_clip_moves_and_cuts(tmp_path: Path) -> None:
    make_hard_clip(tmp_path / "hard.mp4", num_frames=80, width=160, height=90)
    with av.open(str(tmp_path / "hard.mp4")) as container:
        pictures = [frame.to_ndarray(format="gray").astype(float) for frame in container.decode(video=0)]
    changes = [float(np.abs(b - a).mean()) for a, b in zip(pictures, pictures[1:], strict=False)]
    assert len(pictures) == 80
    assert np.argmax(changes) == 74, "a cut after three seconds"
    assert min(changes) > 0.2, "no frame repeats the one before"
    assert cv2.meanStdDev(pictures[0])[1][0, 0] > 10
