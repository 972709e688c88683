"""Speaking rate of buzzes cut into syllables; features that do not depend on the loudness of a recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from emostream.audio.features import NUM_FEATURES, features_of, syllables_per_second
from emostream.audio.frames import SAMPLE_RATE_HZ, frames_of
from tests.audio.test_frames import harmonics


def syllables(per_second: float, *, seconds: float = 3.0) -> npt.NDArray[np.float32]:
    """A buzz whose level rises and falls so often."""
    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    shape = 0.05 + 0.95 * np.sin(np.pi * per_second * times) ** 2
    return (harmonics(130, seconds=seconds, level=0.2) * shape).astype(np.float32)


@pytest.mark.parametrize("per_second", [2.0, 4.0, 6.0])
def test_the_speaking_rate_counts_syllables(per_second: float) -> None:
    frames = frames_of(syllables(per_second))
    assert syllables_per_second(frames, np.ones(len(frames), bool)) == pytest.approx(per_second, rel=0.12)


def test_a_steady_buzz_is_at_most_one_syllable() -> None:
    frames = frames_of(harmonics(130, seconds=3))
    assert syllables_per_second(frames, np.ones(len(frames), bool)) <= 0.35


def test_features_do_not_depend_on_loudness() -> None:
    hiss = 0.002 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE_HZ)  # no recording is without
    samples = (syllables(4) + hiss).astype(np.float32)
    loud, quiet = frames_of(samples), frames_of(samples * np.float32(0.05))
    is_speech = np.ones(len(loud), bool)
    found, expected = (features_of(each, is_speech, rate=4.0) for each in (quiet, loud))
    assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("num_speech", [1, 2, 30])
def test_features_of_little_speech_are_finite(num_speech: int) -> None:
    frames = frames_of(np.zeros(SAMPLE_RATE_HZ, np.float32))
    is_speech = np.arange(len(frames)) < num_speech
    features = features_of(frames, is_speech, rate=0.0)
    assert features.shape == (NUM_FEATURES,)
    assert np.isfinite(features).all()
