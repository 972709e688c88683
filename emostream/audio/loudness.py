"""Loudness after ITU-R BS.1770-5: power after K-weighting, in LUFS.

The weighting is applied to the spectrum of a whole window, by the frequency response of the standard's two filters. It
is the loudness of the mono mix up to 8 kHz: that of a stereo track, whose channels the standard adds, is about 3 LU
higher, and no window is gated.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from emostream.audio.frames import SAMPLE_RATE_HZ, Samples

MIN_LOUDNESS_LUFS = -70.0
"""The standard's absolute gate: what is quieter counts as silence."""

_OFFSET_LUFS = -0.691
# Tables 1 and 2 of the standard, for 48 kHz: (b0, b1, b2), (1, a1, a2) of the shelf and of the high-pass.
_FILTERS = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
_FILTER_RATE_HZ = 48_000


def loudness_lufs(samples: Samples) -> float | None:
    """Loudness of a window; None where it is silent."""
    spectrum = np.fft.rfft(samples)
    power = np.square(spectrum.real, dtype=np.float64) + np.square(spectrum.imag, dtype=np.float64)
    power[1:-1] *= 2  # the negative frequencies; a window has an even number of samples
    mean_square = float(power @ _weights(len(samples))) / len(samples) ** 2
    if mean_square <= 0:
        return None
    loudness = _OFFSET_LUFS + 10 * float(np.log10(mean_square))
    return loudness if loudness >= MIN_LOUDNESS_LUFS else None


@functools.cache
def _weights(num_samples: int) -> npt.NDArray[np.float64]:
    """Squared frequency response of the K-weighting, float64, n/2 + 1."""
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ) / _FILTER_RATE_HZ)
    response = np.ones_like(turn)
    for above, below in _FILTERS:
        response *= np.polyval(above[::-1], turn) / np.polyval(below[::-1], turn)
    return np.asarray(np.abs(response) ** 2)
