"""The sound of a file as samples: mono, 16 kHz, on the time line of its pictures.

The stamps of the sound say where it belongs, and its samples how long it lasts. The samples count; where the stamps
come to differ from that by more than `_MAX_DRIFT_SECONDS`, samples are left out or silence is put in: sound that begins
late, has holes or runs at a wrong rate stays beside its pictures. Another time line goes on after what came before
(`SoundReader`), and so does sound after a hole of more than `_MAX_HOLE_SECONDS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

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
_BLOCK_SECONDS = 0.25
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
        self._form = _Form("flt", 1, SAMPLE_RATE_HZ)  # of what is decoded
        self._waiting: list[npt.NDArray[Any]] = []  # as decoded
        self._num_waiting = 0
        self._next_seconds = 0.0  # where the next samples belong, on the time line of the pictures
        self._origin_seconds = 0.0  # stamps of time 0
        self._num_long_holes = 0

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
        yield from self._resampled()
        self.stats.num_discontinuities = self._reader.num_discontinuities + self._num_long_holes

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
        form = _Form(frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        if form != self._form:
            yield from self._resampled()
            if form.rate_hz != self._form.rate_hz:
                self._resampler = None
            self._form = form
        stamp, num_dropped = frame.time, 0
        self.stats.num_samples += frame.samples
        late = 0.0
        if stamp is not None and math.isfinite(stamp):
            late = stamp - self._origin_seconds - self._next_seconds
        if abs(late) > _MAX_DRIFT_SECONDS:
            if late > _MAX_HOLE_SECONDS:
                self._num_long_holes += 1
                self._origin_seconds += late
            elif late > 0:
                self.stats.missing_seconds += late
                yield from self._silence(round(late * form.rate_hz))
            else:
                num_dropped = min(frame.samples, round(-late * form.rate_hz))
                self.stats.dropped_seconds += num_dropped / form.rate_hz
        # Samples wait until there are enough of them: to mix and resample each frame by itself costs thrice as much.
        self._waiting.append(form.without(num_dropped, frame.to_ndarray()))
        self._num_waiting += frame.samples - num_dropped
        self._next_seconds += (frame.samples - num_dropped) / form.rate_hz
        if self._num_waiting >= _BLOCK_SECONDS * form.rate_hz:
            yield from self._resampled()

    def _silence(self, num_samples: int) -> Iterator[Samples]:
        """Silence after all that waits."""
        yield from self._resampled()
        rate_hz = self._form.rate_hz
        for begin in range(0, num_samples, rate_hz):  # in seconds, however long the hole is
            yield from self._at_16_khz(np.zeros(min(rate_hz, num_samples - begin), np.float32))
        self._next_seconds += num_samples / rate_hz

    def _resampled(self) -> Iterator[Samples]:
        """All that waits."""
        if not self._num_waiting:
            return
        samples = self._form.mono(self._waiting)
        if not (samples.max() <= _MAX_LEVEL and samples.min() >= -_MAX_LEVEL):  # NaN is neither
            samples = np.nan_to_num(samples, copy=False, posinf=0.0, neginf=0.0).clip(-_MAX_LEVEL, _MAX_LEVEL)
        self._waiting, self._num_waiting = [], 0
        yield from self._at_16_khz(samples)

    def _at_16_khz(self, samples: Samples) -> Iterator[Samples]:
        if self._form.rate_hz == SAMPLE_RATE_HZ:
            yield samples
            return
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        frame = AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = self._form.rate_hz
        for part in self._resampler.resample(frame):
            yield part.to_ndarray()[0]


class _Form(NamedTuple):
    """How the samples of a frame lie in its array: planar formats have a row per channel."""

    format: str
    num_channels: int
    rate_hz: int

    def without(self, num_samples: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A frame without its first samples."""
        return values[:, num_samples if self._is_planar else num_samples * self.num_channels :]

    def mono(self, frames: Sequence[npt.NDArray[Any]]) -> Samples:
        """Mean of the channels, whichever they are."""
        values = np.concatenate(frames, axis=1)
        channels = values if self._is_planar else values.reshape(-1, self.num_channels).T
        with np.errstate(invalid="ignore", over="ignore"):  # damaged samples are set right later
            mean: Samples = _in_full_scale(channels).mean(axis=0, dtype=np.float32)
        return mean

    @property
    def _is_planar(self) -> bool:
        return self.format.endswith("p")


def _in_full_scale(values: npt.NDArray[Any]) -> Samples:
    """Samples of any format as −1 to 1."""
    if values.dtype == np.uint8:
        return np.asarray((values.astype(np.float32) - 128) / 128, np.float32)
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32) * np.float32(-1 / float(np.iinfo(values.dtype).min))
    return np.asarray(values, np.float32)
