"""What microphones and lines do to a voice, made by formula: noise, music, a telephone's band, another loudness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from emostream.audio.frames import SAMPLE_RATE_HZ, Samples

Disturbance = Callable[[Samples, np.random.Generator], Samples]

_TELEPHONE_HZ = (300.0, 3400.0)
_CHORD = (1.0, 1.26, 1.5)  # a major triad
_BEAT_SECONDS = 0.5


def unchanged(samples: Samples, rng: np.random.Generator) -> Samples:
    """As recorded."""
    return samples


def telephone(samples: Samples, rng: np.random.Generator) -> Samples:
    """Nothing below 300 or above 3400 Hz."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    spectrum[(hertz < _TELEPHONE_HZ[0]) | (hertz > _TELEPHONE_HZ[1])] = 0
    return np.asarray(np.fft.irfft(spectrum, len(samples)), np.float32)


def louder(samples: Samples, rng: np.random.Generator, *, by_db: float) -> Samples:
    """By the given dB, in 16 bits: clipped where that is too loud, coarse where it is very quiet."""
    scaled = np.clip(samples * 10 ** (by_db / 20), -1, 32_767 / 32_768)
    return np.asarray(np.round(scaled * 32_768) / 32_768, np.float32)


def with_noise(samples: Samples, rng: np.random.Generator, *, snr_db: float, slope: float = 1.0) -> Samples:
    """With noise whose power falls by `frequency ** -slope`: 0 white, 1 pink."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** (slope / 2)
    return _mixed(samples, np.fft.irfft(spectrum, len(samples)), snr_db=snr_db)


def with_music(samples: Samples, rng: np.random.Generator, *, snr_db: float) -> Samples:
    """With plucked chords, a new one every half second."""
    made = np.zeros(len(samples))
    beat = int(_BEAT_SECONDS * SAMPLE_RATE_HZ)
    for begin in range(0, len(samples), beat):
        times = np.arange(min(beat, len(samples) - begin)) / SAMPLE_RATE_HZ
        root_hz = 220 * 2 ** (rng.integers(0, 12) / 12)
        for ratio in _CHORD:
            for harmonic in range(1, 6):
                wave = np.sin(2 * np.pi * root_hz * ratio * harmonic * times)
                made[begin : begin + len(times)] += np.exp(-3 * times) * wave / harmonic
    return _mixed(samples, made, snr_db=snr_db)


def _mixed(samples: Samples, other: npt.NDArray[np.float64], *, snr_db: float) -> Samples:
    level = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
    other = other / max(float(np.sqrt(np.mean(other**2))), 1e-12)
    return (samples + other * level * 10 ** (-snr_db / 20)).astype(np.float32)


CONDITIONS: Mapping[str, Disturbance] = {
    "as recorded": unchanged,
    "pink noise, 20 dB below": partial(with_noise, snr_db=20.0),
    "pink noise, 10 dB below": partial(with_noise, snr_db=10.0),
    "pink noise, 5 dB below": partial(with_noise, snr_db=5.0),
    "white noise, 10 dB below": partial(with_noise, snr_db=10.0, slope=0.0),
    "music, 10 dB below": partial(with_music, snr_db=10.0),
    "telephone band": telephone,
    "30 dB quieter": partial(louder, by_db=-30.0),
    "12 dB louder, clipped": partial(louder, by_db=12.0),
}
"""What the model is measured under; "below" is below the speech."""


def any_disturbance(samples: Samples, rng: np.random.Generator) -> Samples:
    """One of them by chance, for training."""
    kinds: tuple[Disturbance, ...] = (
        partial(with_noise, snr_db=rng.uniform(3, 30), slope=rng.uniform(0, 2)),
        partial(with_music, snr_db=rng.uniform(5, 30)),
        telephone,
        partial(louder, by_db=rng.uniform(-30, 12)),
    )
    return kinds[rng.integers(len(kinds))](samples, rng)
