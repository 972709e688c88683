"""A clip that is too short is repeated."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import pytest

from emostream.errors import SourceRejectedError
from emostream.render.looped import looped
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
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 0.06
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
