"""Statistics of a stretch of speech from which its arousal is estimated.

Nothing in them depends on how loud the recording is: levels and bands are relative to their means, because the distance
of a microphone says nothing of the speaker.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emostream.audio.frames import FRAMES_PER_SECOND, NUM_BANDS, Frames

Features = npt.NDArray[np.float32]

_MIN_VOICED_FRAMES = 5
_MIN_PEAK_DIP_DB = 2.0  # de Jong & Wempe (2009)
_MAX_BELOW_PEAK_DB = 25.0  # quieter peaks are no syllables
_MIN_PEAK_FRAMES = 8  # between two nuclei; 12 syllables a second are more than people speak for long
_SMOOTH_FRAMES = 5
_LOW_BANDS, _HIGH_BANDS = slice(0, 10), slice(13, NUM_BANDS)  # below about 1 kHz, above about 1.7 kHz
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)

NUM_FEATURES = 3 * NUM_BANDS + 26


def features_of(frames: Frames, is_speech: npt.NDArray[np.bool_], *, rate: float) -> Features:
    """Statistics of the frames with speech, float32, `NUM_FEATURES`.

    Args:
        frames: consecutive frames.
        is_speech: n; which of them are speech; at least one.
        rate: their `syllables_per_second`.
    """
    spoken = frames.at(is_speech)
    level_db = spoken.level_db - spoken.level_db.mean()
    quiet_db, middle_db, loud_db = quantiles(level_db, (0.1, 0.5, 0.9))
    bands = spoken.bands_db - spoken.bands_db.mean(axis=1, keepdims=True)  # the shape of each spectrum
    loud = level_db >= middle_db
    tilt = spoken.bands_db[:, _HIGH_BANDS].mean(axis=1) - spoken.bands_db[:, _LOW_BANDS].mean(axis=1)
    steps = np.diff(spoken.bands_db, axis=0) if len(spoken) > 1 else np.zeros((1, NUM_BANDS), np.float32)
    made = np.concatenate(
        [
            bands.mean(axis=0),
            spoken.bands_db.std(axis=0),
            bands[loud].mean(axis=0),
            [level_db.std(), quiet_db, loud_db],
            [tilt.mean(), tilt.std(), tilt[loud].mean()],
            [np.abs(steps).mean(), steps.std()],
            _pitch_features(spoken),
            [rate, is_speech.mean()],
        ]
    )
    return made.astype(np.float32)


def _pitch_features(spoken: Frames) -> list[float]:
    """Of the voiced frames: in octaves above 100 Hz, and how periodic they are."""
    is_voiced = spoken.pitch_hz > 0
    share = float(is_voiced.mean())
    if is_voiced.sum() < _MIN_VOICED_FRAMES:
        return [0.0] * 14 + [share, 0.0]
    octaves = np.log2(spoken.pitch_hz[is_voiced] / 100)
    steps = np.abs(np.diff(octaves))
    percentiles = quantiles(octaves, _SHARES)
    middle_step, large_step = quantiles(steps, (0.5, 0.75))
    bends = _correlation(octaves, spoken.level_db[is_voiced])
    bands = spoken.bands_db[is_voiced]
    tilt = bands[:, _HIGH_BANDS].mean(axis=1) - bands[:, _LOW_BANDS].mean(axis=1)
    return [
        *percentiles,
        octaves.mean(),
        octaves.std(),
        percentiles[-1] - percentiles[0],
        middle_step,
        large_step,
        bends,
        float(tilt.mean()),
        float(bands[:, _HIGH_BANDS].max(axis=1).mean() - bands[:, _LOW_BANDS].max(axis=1).mean()),
        percentiles[-1] * share,
        share,
        float(spoken.periodicity[is_voiced].mean()),
    ]


def syllables_per_second(frames: Frames, is_speech: npt.NDArray[np.bool_]) -> float:
    """Syllables in a second of speech: voiced peaks of the level with a dip of 2 dB before them.

    The method is that of de Jong and Wempe (2009, "Praat script to detect syllable nuclei and measure speech rate
    automatically").

    Args:
        frames: consecutive frames.
        is_speech: n; which of them are speech; at least one.
    """
    level_db = np.convolve(frames.level_db, np.ones(_SMOOTH_FRAMES) / _SMOOTH_FRAMES, "same")
    floor_db = quantiles(level_db[is_speech], (0.99,))[0] - _MAX_BELOW_PEAK_DB
    inner = level_db[1:-1]
    peaks = 1 + np.flatnonzero((inner >= level_db[:-2]) & (inner > level_db[2:]))
    peaks = peaks[is_speech[peaks] & (frames.pitch_hz[peaks] > 0) & (level_db[peaks] > floor_db)]
    count, last = 0, -1
    for peak in map(int, peaks):
        if last < 0:
            count, last = 1, peak
            continue
        dip_db = level_db[last : peak + 1].min()
        if min(level_db[last], level_db[peak]) - dip_db < _MIN_PEAK_DIP_DB or peak - last < _MIN_PEAK_FRAMES:
            last = peak if level_db[peak] > level_db[last] else last
        else:
            count, last = count + 1, peak
    return count * FRAMES_PER_SECOND / int(is_speech.sum())


def quantiles(values: npt.NDArray[np.floating], shares: Sequence[float]) -> list[float]:
    """Values below which these shares of the values lie, as of `numpy.quantile`, which takes ten times as long.

    Args:
        values: n; at least one.
        shares: 0…1.
    """
    ordered = np.sort(values)
    found: list[float] = np.interp(np.multiply(shares, len(values) - 1), np.arange(len(values)), ordered).tolist()
    return found


def _correlation(some: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> float:
    """Pearson's; 0 where one of them does not vary."""
    some, others = some - some.mean(), others - others.mean()
    varies = float(np.sqrt((some @ some) * (others @ others)))
    return float(some @ others) / varies if varies > 0 else 0.0
