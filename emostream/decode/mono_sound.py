"""The sound of a file as samples: mono, 16 kHz, on the time line of its pictures.

The stamps of the sound say where it belongs, and its samples how long it lasts. The samples count; where the stamps
come to differ from that by more than `_MAX_DRIFT_SECONDS`, samples are left out or silence is put in: sound that begins
late, has holes or runs at a wrong rate stays beside its pictures. A step back of more than a second, or one ahead of
more than `_MAX_HOLE_SECONDS`, is another time line, as it is for pictures (`timeline.py`): the sound goes on after what
came before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.error import FFmpegError

from emostream.config import DecodeSettings
from emostream.decode.sound import SoundReader

SAMPLE_RATE_HZ = 16_000

_MAX_DRIFT_SECONDS = 0.05  # sound and picture seem together within about this (ITU-R BT.1359)
_MAX_HOLE_SECONDS = 3600.0
_MAX_STEP_BACK_SECONDS = 1.0
_MAX_LEVEL = 4.0  # decoders overshoot full scale a little; more is damage

Samples = npt.NDArray[np.float32]
"""float32, n; mono, full scale is −1 to 1."""


@dataclass(slots=True)
class SoundStats:
    """What was wrong with the sound so far.

    Attributes:
        num_damaged: packets that could not be decoded.
        missing_seconds: silence that was put into holes.
        dropped_seconds: sound that was left out because it came twice, or too fast.
        num_discontinuities: how often the stamps began again.
        num_samples: decoded, before anything was put in or left out.
    """

    num_damaged: int = 0
    missing_seconds: float = 0.0
    dropped_seconds: float = 0.0
    num_discontinuities: int = 0
    num_samples: int = 0


class MonoSound:
    """Reads the sound of a file. Use in a `with` statement.

    Args:
        url: path or URL.
        settings: time-outs and limits.
        zero_seconds: the container's time of time 0 of the pictures.

    Raises:
        SourceRejectedError: it cannot be opened, or has no sound that FFmpeg can decode.
    """

    def __init__(self, url: str, *, settings: DecodeSettings, zero_seconds: float) -> None:
        self.stats = SoundStats()
        self._reader = SoundReader(url, settings=settings, zero_seconds=zero_seconds)
        self._resampler: av.AudioResampler | None = None
        self._resampled_from_hz = 0
        self._num_samples = 0  # given so far, from time 0 on
        self._origin_seconds = 0.0  # stamps of time 0

    def samples_until(self, seconds: float) -> Iterator[Samples]:
        """The samples from where the last call ended, to about this time; together they begin at time 0.

        Sound before time 0 is left out. It ends for good where the file ends.
        """
        for packet in self._reader.packets_until(seconds + self._origin_seconds):
            try:
                frames = packet.decode()
            except FFmpegError:
                self.stats.num_damaged += 1
                continue
            for frame in frames:
                yield from self._placed(frame)

    def close(self) -> None:
        """Release the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _placed(self, frame: AudioFrame) -> Iterator[Samples]:
        """The samples of a frame, after what is missing before them, without what came already."""
        stamp = frame.time
        samples = self._mono(frame)
        self.stats.num_samples += len(samples)
        if stamp is None or not math.isfinite(stamp):
            stamp = self._next_seconds + self._origin_seconds
        late = stamp - self._origin_seconds - self._next_seconds
        if abs(late) > _MAX_DRIFT_SECONDS:
            if late > _MAX_HOLE_SECONDS or (late < -_MAX_STEP_BACK_SECONDS and self._num_samples):
                self.stats.num_discontinuities += 1
                self._origin_seconds += late
            elif late > 0:
                yield from self._silence(round(late * SAMPLE_RATE_HZ))
            else:
                num_dropped = min(len(samples), round(-late * SAMPLE_RATE_HZ))
                self.stats.dropped_seconds += num_dropped / SAMPLE_RATE_HZ
                samples = samples[num_dropped:]
        self._num_samples += len(samples)
        if len(samples):
            yield samples

    def _silence(self, num_samples: int) -> Iterator[Samples]:
        """In pieces of a second at most, however long the hole is."""
        self.stats.missing_seconds += num_samples / SAMPLE_RATE_HZ
        self._num_samples += num_samples
        for begin in range(0, num_samples, SAMPLE_RATE_HZ):
            yield np.zeros(min(SAMPLE_RATE_HZ, num_samples - begin), np.float32)

    @property
    def _next_seconds(self) -> float:
        return self._num_samples / SAMPLE_RATE_HZ

    def _mono(self, frame: AudioFrame) -> Samples:
        """Mean of the channels, resampled; a change of the format in the middle begins a new resampler."""
        values = frame.to_ndarray()
        channels = values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T
        finite = np.nan_to_num(_in_full_scale(channels), posinf=0.0, neginf=0.0)
        mono: Samples = np.clip(finite, -_MAX_LEVEL, _MAX_LEVEL).mean(axis=0).astype(np.float32)
        if frame.sample_rate == SAMPLE_RATE_HZ or not len(mono):
            return mono
        if self._resampler is None or self._resampled_from_hz != frame.sample_rate:
            self._resampled_from_hz = frame.sample_rate
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        plain = AudioFrame.from_ndarray(mono[None], format="flt", layout="mono")
        plain.sample_rate = frame.sample_rate
        made = [part.to_ndarray()[0] for part in self._resampler.resample(plain)]
        return np.concatenate(made) if made else np.empty(0, np.float32)


def _in_full_scale(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Samples of any format as −1 to 1."""
    real: npt.NDArray[np.float64] = values.astype(np.float64)
    if values.dtype == np.uint8:
        return (real - 128) / 128
    return real / -float(np.iinfo(values.dtype).min) if np.issubdtype(values.dtype, np.integer) else real
