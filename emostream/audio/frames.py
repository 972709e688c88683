"""Sound cut into short frames: level, spectrum and pitch of each.

The pitch is that of Boersma (1993, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound"): the autocorrelation of a windowed frame, divided by that of the window.
One Fourier transform per frame serves the spectrum and the pitch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
"""Of all sound in this package."""

HOP_SAMPLES = 160
FRAME_SAMPLES = 640
FRAMES_PER_SECOND = SAMPLE_RATE_HZ // HOP_SAMPLES
NUM_BANDS = 26

_FFT_SAMPLES = 1024  # the frame and the longest lag
_MIN_PITCH_HZ, _MAX_PITCH_HZ = 75.0, 500.0  # three periods of the lowest fit into a frame
_MIN_PERIODICITY = 0.45  # Boersma's voicing threshold
_OCTAVE_COST = 0.01  # Boersma's; of two equal peaks the higher pitch
_MIN_LEVEL_DB = -65.0  # of full scale; quieter frames have no pitch
# At once: arrays of less than 128 kB, which need no new memory from the system (`process_tuning.py`). What NumPy's
# transforms allocate by themselves is larger.
_BLOCK_FRAMES, _TRANSFORM_FRAMES = 28, 14
_FLOOR = 1e-10
_LOWEST_BAND_HZ, _HIGHEST_BAND_HZ = 80.0, 7600.0

Samples = npt.NDArray[np.float32]
"""float32, n; mono at `SAMPLE_RATE_HZ`, full scale is −1 to 1."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Consecutive frames, one every 10 ms; all arrays have one row per frame.

    Attributes:
        level_db: float32, n; mean square in dB of full scale.
        bands_db: float32, n×26; power of mel bands from 80 to 7600 Hz in dB.
        pitch_hz: float32, n; 0 where the frame is not voiced.
        periodicity: float32, n; 0…1, height of the autocorrelation's peak.
    """

    level_db: npt.NDArray[np.float32]
    bands_db: npt.NDArray[np.float32]
    pitch_hz: npt.NDArray[np.float32]
    periodicity: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.level_db)

    def followed_by(self, later: Frames, *, keep: int) -> Frames:
        """The last `keep` frames of these and the later ones."""
        return Frames(*(np.concatenate([getattr(self, n), getattr(later, n)])[-keep:] for n in self.__slots__))

    def at(self, chosen: slice | npt.NDArray[np.bool_]) -> Frames:
        """Some of the frames."""
        return Frames(*(getattr(self, name)[chosen] for name in self.__slots__))

    @classmethod
    def none(cls) -> Self:
        """No frame."""
        empty = np.empty(0, np.float32)
        return cls(empty, np.empty((0, NUM_BANDS), np.float32), empty, empty)


def frames_of(samples: Samples, is_wanted: npt.NDArray[np.bool_] | None = None) -> Frames:
    """The frames that lie wholly in `samples`: frame `i` begins at sample `160·i`.

    Args:
        samples: any number.
        is_wanted: one per frame; the others have a level only, which is what costs least; None means all.
    """
    num_frames = num_frames_in(len(samples))
    if not num_frames:
        return Frames.none()
    cut = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::HOP_SAMPLES]
    frames = Frames(
        np.zeros(num_frames, np.float32),
        np.zeros((num_frames, NUM_BANDS), np.float32),
        np.zeros(num_frames, np.float32),
        np.zeros(num_frames, np.float32),
    )
    for begin in range(0, num_frames, _BLOCK_FRAMES):
        block = slice(begin, begin + _BLOCK_FRAMES)
        _fill(frames.at(block), cut[block], slice(None) if is_wanted is None else is_wanted[block])
    return frames


def _fill(frames: Frames, cut: npt.NDArray[np.float32], wanted: slice | npt.NDArray[np.bool_]) -> None:
    """Write into the arrays of `frames`."""
    centred = cut - cut.mean(axis=1, keepdims=True)
    frames.level_db[:] = _decibels(np.mean(centred * centred, axis=1))
    centred, level_db = centred[wanted], frames.level_db[wanted]
    if not len(centred):
        return
    windowed, spectrum = centred * _WINDOW, np.empty((len(centred), _FFT_SAMPLES // 2 + 1), np.complex64)
    for part in _parts(len(centred)):
        spectrum[part] = np.fft.rfft(windowed[part], _FFT_SAMPLES, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32, copy=False)
    pitch_hz, periodicity = _pitch_of(power)
    pitch_hz[(periodicity < _MIN_PERIODICITY) | (level_db < _MIN_LEVEL_DB)] = 0.0
    frames.bands_db[wanted] = _decibels(power @ _BANDS)
    frames.pitch_hz[wanted], frames.periodicity[wanted] = pitch_hz, periodicity


def num_frames_in(num_samples: int) -> int:
    """Of `frames_of`."""
    return max(0, (num_samples - FRAME_SAMPLES) // HOP_SAMPLES + 1)


def _parts(num_frames: int) -> list[slice]:
    return [slice(begin, begin + _TRANSFORM_FRAMES) for begin in range(0, num_frames, _TRANSFORM_FRAMES)]


def _decibels(power: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (10 * np.log10(np.maximum(power, _FLOOR))).astype(np.float32)


def _pitch_of(power: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Pitch in Hz and periodicity (0…1) of each frame from its power spectrum."""
    correlation = np.empty((len(power), _MAX_LAG + 2), np.float32)
    for part in _parts(len(power)):
        correlation[part] = np.fft.irfft(power[part], axis=1)[:, : _MAX_LAG + 2]
    normed = correlation / np.maximum(correlation[:, :1], _FLOOR) / _WINDOW_CORRELATION
    left, middle, right = normed[:, _MIN_LAG - 1 : -2], normed[:, _MIN_LAG:-1], normed[:, _MIN_LAG + 1 :]
    # The top of the parabola through three lags: the lags themselves miss that of a high voice, whose period is short.
    bend = np.minimum(left - 2 * middle + right, -_FLOOR)
    slope = (left - right) / 2
    heights = np.where((middle >= left) & (middle > right), middle - slope**2 / (2 * bend), 0.0)
    best = (heights - _LAG_COST).argmax(axis=1)
    rows = np.arange(len(power))
    lag = best + _MIN_LAG + (slope[rows, best] / bend[rows, best]).clip(-1, 1)
    return (SAMPLE_RATE_HZ / lag).astype(np.float32), heights[rows, best].clip(0, 1).astype(np.float32)


def _mel_bands() -> npt.NDArray[np.float32]:
    """Triangles on the mel scale (O'Shaughnessy), float32, 513×26."""

    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(mel(_LOWEST_BAND_HZ), mel(_HIGHEST_BAND_HZ), NUM_BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(_FFT_SAMPLES, 1 / SAMPLE_RATE_HZ)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


_WINDOW = np.hanning(FRAME_SAMPLES + 2)[1:-1].astype(np.float32)
_BANDS = _mel_bands()
_MIN_LAG, _MAX_LAG = int(SAMPLE_RATE_HZ / _MAX_PITCH_HZ), int(SAMPLE_RATE_HZ / _MIN_PITCH_HZ)
_WINDOW_CORRELATION = np.correlate(_WINDOW, _WINDOW, "full")[FRAME_SAMPLES - 1 : FRAME_SAMPLES + _MAX_LAG + 1]
_WINDOW_CORRELATION = _WINDOW_CORRELATION / _WINDOW_CORRELATION[0]
_LAG_COST = _OCTAVE_COST * np.log2(np.arange(_MIN_LAG, _MAX_LAG + 1) * (_MIN_PITCH_HZ / SAMPLE_RATE_HZ))
