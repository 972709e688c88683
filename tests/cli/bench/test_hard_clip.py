"""The hard clip of the benchmarks."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from emostream.cli.bench.hard_clip import make_hard_clip


@pytest.mark.heavy
def test_the_hard_clip_moves_and_cuts(tmp_path: Path) -> None:
    make_hard_clip(tmp_path / "hard.mp4", num_frames=80, width=160, height=90)
    with av.open(str(tmp_path / "hard.mp4")) as container:
        pictures = [frame.to_ndarray(format="gray").astype(float) for frame in container.decode(video=0)]
    changes = [float(np.abs(b - a).mean()) for a, b in itertools.pairwise(pictures)]
    assert len(pictures) == 80
    assert np.argmax(changes) == 74, "a cut after three seconds"
    assert min(changes) > 0.2, "no frame repeats the one before"
    assert cv2.meanStdDev(pictures[0])[1][0, 0] > 10
