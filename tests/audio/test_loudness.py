"""Loudness beside that of FFmpeg's meter, which implements the same standard."""

from __future__ import annotations

import re
from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest
from av.audio.frame import AudioFrame

from emostream.audio.frames import SAMPLE_RATE_HZ
from emostream.audio.loudness import loudness_lufs


def ffmpeg_lufs(samples: np.ndarray) -> float:
    """The loudness of the last 400 ms by the filter ebur128."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=SAMPLE_RATE_HZ, format="flt", layout="mono", time_base=Fraction(1, SAMPLE_RATE_HZ)
    )
    meter = graph.add("ebur128", "metadata=1")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    frame = AudioFrame.from_ndarray(samples[None].astype(np.float32), format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, 0, Fraction(1, SAMPLE_RATE_HZ)
    graph.push(frame)
    graph.push(None)
    measured = [float("nan")]
    while True:
        try:
            pulled = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return measured[-1]
        measured += [float(v) for k, v in pulled.metadata.items() if re.fullmatch(r"lavfi\.r128\.M", k)]


@pytest.mark.parametrize("seed", range(3))
def test_it_is_that_of_ffmpegs_meter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(2 * SAMPLE_RATE_HZ))
    spectrum *= np.exp(-np.linspace(0, 4 * seed, len(spectrum)))
    noise = 0.2 * np.fft.irfft(spectrum)
    noise = (noise / np.abs(noise).max() * 0.5).astype(np.float32)
    assert loudness_lufs(noise[-int(0.4 * SAMPLE_RATE_HZ) :]) == pytest.approx(ffmpeg_lufs(noise), abs=0.5)
