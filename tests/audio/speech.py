"""Something that a detector of speech takes for speech, made by formula: a buzz through the resonances of vowels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emostream.audio.frames import SAMPLE_RATE_HZ

# First three formants of /a/, /i/, /u/, /e/, /o/ of men (Peterson & Barney 1952), in Hz.
_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
SYLLABLE_SECONDS = 0.22


def spoken_words(*, seconds: float, pitch_hz: float = 120.0, seed: int = 0) -> npt.NDArray[np.float32]:
    """Syllables of changing vowels with a falling pitch and a hiss between them."""
    rng = np.random.default_rng(seed)
    num_samples = round(seconds * SAMPLE_RATE_HZ)
    times = np.arange(num_samples) / SAMPLE_RATE_HZ
    pitch = pitch_hz * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * times) + 0.03 * np.sin(2 * np.pi * 5 * times))
    phase = np.cumsum(pitch) / SAMPLE_RATE_HZ
    made = np.zeros(num_samples)
    length = round(SYLLABLE_SECONDS * SAMPLE_RATE_HZ)
    for number, begin in enumerate(range(0, num_samples, length)):
        part = slice(begin, min(begin + length, num_samples))
        vowel, following = _VOWELS[number % 5], _VOWELS[(number + 2) % 5]
        place = np.linspace(0, 1, part.stop - part.start)
        voice = np.zeros(part.stop - part.start)
        for harmonic in range(1, 40):
            hertz = harmonic * pitch[part]
            gain = np.zeros_like(voice)
            for one, other in zip(vowel, following, strict=True):
                centre = one + (other - one) * place
                gain += 1 / (1 + ((hertz - centre) / 90) ** 2)
            voice += gain / harmonic**0.6 * np.sin(2 * np.pi * harmonic * phase[part]) * (hertz < 7000)
        shape = np.clip(np.sin(np.pi * place) * 1.6, 0, 1)
        hiss = rng.standard_normal(len(voice)) * 0.04 * (place > 0.85)
        made[part] = voice * shape + hiss
    return np.asarray(0.25 * made / np.abs(made).max(), np.float32)
