"""Sound beside its pictures: level, rate and place of a tone that begins at a known time."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.audio.frame import AudioFrame

from emostream.config import DecodeSettings
from emostream.decode.mono_sound import SAMPLE_RATE_HZ, MonoSound, SoundStats
from emostream.errors import SourceRejectedError
from tests.media import corrupt_packets, make_clip

_TONE_HZ = 440.0


def write_sound(
    path: Path,
    pieces: list[tuple[float, npt.NDArray[np.float32]]],
    *,
    rate: int = 48_000,
    layout: str = "mono",
    codec: str = "pcm_f32le",
) -> Path:
    """A file of sound; each piece is (stamp in seconds, channels × samples)."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        for stamp, values in pieces:
            packed = np.ascontiguousarray(values.T).reshape(1, -1)
            frame = AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(stamp * rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def tone(seconds: float, *, rate: int = 48_000, channels: int = 1, level: float = 0.5) -> npt.NDArray[np.float32]:
    """A sine wave on every channel."""
    times = np.arange(round(seconds * rate)) / rate
    return np.tile(level * np.sin(2 * np.pi * _TONE_HZ * times), (channels, 1)).astype(np.float32)


def read(path: Path, *, zero_seconds: float = 0.0) -> tuple[npt.NDArray[np.float32], SoundStats]:
    with MonoSound(str(path), settings=DecodeSettings(), zero_seconds=zero_seconds) as sound:
        pieces = list(sound.samples_until(float("inf")))
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32), sound.stats


def begin_of_tone(samples: npt.NDArray[np.float32]) -> float:
    return float(np.flatnonzero(np.abs(samples) > 0.1)[0]) / SAMPLE_RATE_HZ


def frequency_of(samples: npt.NDArray[np.float32]) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * SAMPLE_RATE_HZ / len(samples)


@pytest.mark.parametrize(
    ("rate", "layout", "channels"),
    [(48_000, "mono", 1), (96_000, "stereo", 2), (44_100, "5.1", 6), (48_000, "7.1", 8), (16_000, "mono", 1)],
)
def test_any_rate_and_number_of_channels_is_mono_of_16_khz(
    tmp_path: Path, rate: int, layout: str, channels: int
) -> None:
    path = write_sound(tmp_path / "a.mka", [(0.0, tone(2, rate=rate, channels=channels))], rate=rate, layout=layout)
    samples, _ = read(path)
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=SAMPLE_RATE_HZ * 0.01)
    assert frequency_of(samples) == pytest.approx(_TONE_HZ, abs=1)
    assert np.sqrt(np.mean(samples[1600:-1600] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_sound_that_begins_late_has_silence_before_it(tmp_path: Path) -> None:
    samples, stats = read(write_sound(tmp_path / "a.mka", [(1.5, tone(1))]))
    assert begin_of_tone(samples) == pytest.approx(1.5, abs=0.01)
    assert stats.missing_seconds == pytest.approx(1.5, abs=0.01)


def test_time_0_is_that_of_the_pictures(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mka", [(0.0, np.zeros((1, 48_000), np.float32)), (1.0, tone(1))])
    samples, _ = read(path, zero_seconds=0.75)
    assert begin_of_tone(samples) == pytest.approx(0.25, abs=0.03)


def test_a_hole_is_silence_of_its_length(tmp_path: Path) -> None:
    samples, stats = read(write_sound(tmp_path / "a.mka", [(0.0, tone(1)), (3.0, tone(1))]))
    assert len(samples) == pytest.approx(4 * SAMPLE_RATE_HZ, abs=200)
    assert not samples[17_600:46_400].any()
    assert stats.missing_seconds == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("pace", [0.98, 1.02])
def test_sound_that_drifts_stays_beside_its_pictures(tmp_path: Path, pace: float) -> None:
    pieces = [(index * 0.1 * pace, tone(0.1)) for index in range(100)]
    samples, stats = read(write_sound(tmp_path / "a.mka", pieces))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(10 * pace, abs=0.15)
    assert stats.num_discontinuities == 0


def test_a_pipe_of_numbers_that_are_none_is_silence(tmp_path: Path) -> None:
    broken = tone(1)
    broken[0, ::7] = np.nan
    broken[0, 3::11] = np.inf
    samples, _ = read(write_sound(tmp_path / "a.mka", [(0.0, broken)]))
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() < 8


def test_damaged_packets_are_left_out_and_the_rest_keeps_its_place(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.m4a", [(0.0, tone(5))], codec="aac")
    whole, _ = read(path)
    damaged, stats = read(corrupt_packets(path, tmp_path / "b.m4a", range(100, 160), kind="audio"))
    assert stats.num_damaged > 0
    assert len(damaged) == pytest.approx(len(whole), abs=SAMPLE_RATE_HZ // 10)
    assert np.abs(damaged[-16_000:] - whole[-16_000:]).max() < 0.1


def test_without_sound_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceRejectedError):
        read(make_clip(tmp_path / "a.mp4"))


@pytest.mark.parametrize("num_channels", [3, 9, 12])
def test_channels_of_which_only_the_number_is_known_are_averaged(tmp_path: Path, num_channels: int) -> None:
    values = tone(1, channels=num_channels)
    path = tmp_path / "a.wav"
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + values.nbytes,
        b"WAVE",
        b"fmt ",
        16,
        3,
        num_channels,
        48_000,
        48_000 * 4 * num_channels,
        4 * num_channels,
        32,
        b"data",
        values.nbytes,
    )
    path.write_bytes(header + values.T.tobytes())
    samples, _ = read(path)
    assert frequency_of(samples) == pytest.approx(_TONE_HZ, abs=2)
    assert len(samples) == pytest.approx(SAMPLE_RATE_HZ, abs=200)
    assert np.abs(samples[2000:14_000]).max() == pytest.approx(0.5, rel=0.05)
