"""Level, pitch and loudness of sounds whose answers follow from how they are made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.audio.frames import SAMPLE_RATE_HZ, frames_of
from emostream.audio.loudness import loudness_lufs


def harmonics(pitch_hz: float, *, seconds: float = 1.0, level: float = 0.1) -> npt.NDArray[np.float32]:
    """A buzz such as vocal cords make."""
    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    parts = [np.sin(2 * np.pi * pitch_hz * k * times) / k for k in range(1, 9) if pitch_hz * k < 7500]
    return np.asarray(level * np.sum(parts, axis=0), np.float32)


@settings(deadline=None, max_examples=20)
@given(st.floats(80, 480))
def test_the_pitch_of_a_buzz_is_that_of_its_first_harmonic(pitch_hz: float) -> None:
    frames = frames_of(harmonics(pitch_hz))
    assert np.median(frames.pitch_hz) == pytest.approx(pitch_hz, rel=0.01)


def test_the_pitch_is_found_without_its_first_harmonics() -> None:
    times = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    telephone = sum(np.sin(2 * np.pi * 120 * k * times) for k in range(3, 15))
    frames = frames_of(np.asarray(0.05 * telephone, np.float32))
    assert np.median(frames.pitch_hz) == pytest.approx(120, rel=0.01)


@pytest.mark.parametrize("level", [0.0, 0.2])
def test_silence_and_noise_have_no_pitch(level: float) -> None:
    noise = np.random.default_rng(1).standard_normal(SAMPLE_RATE_HZ) * level
    assert np.mean(frames_of(noise.astype(np.float32)).pitch_hz > 0) < 0.05


def test_frames_are_10_ms_apart_and_lie_wholly_in_the_sound() -> None:
    assert [len(frames_of(np.zeros(n, np.float32))) for n in (0, 639, 640, 799, 800, 16_000)] == [0, 0, 1, 1, 2, 97]


def test_the_level_is_in_decibels_of_full_scale() -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ).astype(np.float32)
    assert np.median(frames_of(tone).level_db) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize(("level_db", "lufs"), [(0.0, -3.01), (-20.0, -23.01), (-40.0, -43.01)])
def test_the_loudness_of_the_standards_tone(level_db: float, lufs: float) -> None:
    # BS.1770: a sine of 997 Hz at full scale in one channel is −3.01 LKFS.
    times = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = 10 ** (level_db / 20) * np.sin(2 * np.pi * 997 * times)
    assert loudness_lufs(tone.astype(np.float32)) == pytest.approx(lufs, abs=0.05)


def test_low_sounds_are_less_loud() -> None:
    times = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    rumble, tone = (np.sin(2 * np.pi * hertz * times).astype(np.float32) for hertz in (25, 1000))
    low, high = loudness_lufs(rumble), loudness_lufs(tone)
    assert low is not None
    assert high is not None
    assert low < high - 8


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_has_no_loudness(level: float) -> None:
    assert loudness_lufs(np.full(SAMPLE_RATE_HZ, level, np.float32)) is None
