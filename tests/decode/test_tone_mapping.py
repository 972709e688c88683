"""HDR looks like ordinary video to people: right brightness, right colours, no clipped lights; gray stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emostream.config import DecodeSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.tone_mapping import HLG, PQ, ordinary_rgb
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from tests.media import LOSSY_TOLERANCE, make_clip

BT709, UNSAID, BT2020 = 1, 2, 9
# Signals of ITU-R BT.2100 and BT.2408: black, middle gray (26 nits), white of paper (203 nits), 1000 nits.
SIGNALS = {PQ: (0.0, 0.3788, 0.5807, 0.7518), HLG: (0.0, 0.38, 0.75, 1.0)}


def shown(signal: float | tuple[float, float, float], *, transfer: int, primaries: int = BT2020) -> list[int]:
    codes = np.empty((2, 3, 3), np.uint16)
    codes[:] = np.rint(np.asarray(signal) * 65535)
    return [int(level) for level in ordinary_rgb(codes, transfer=transfer, primaries=primaries)[1, 2]]


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("primaries", [BT709, UNSAID, BT2020])
def test_gray_is_gray_and_as_bright_as_in_ordinary_video(transfer: int, primaries: int) -> None:
    levels = [shown(signal, transfer=transfer, primaries=primaries) for signal in SIGNALS[transfer]]
    assert all(max(level) - min(level) <= 1 for level in levels)
    black, middle, white, peak = (level[1] for level in levels)
    assert (black, peak) == (0, 255)
    assert middle == pytest.approx(255 * (26 / 203) ** (1 / 2.4), abs=4)  # below the roll-off nothing is changed
    assert 220 <= white <= 245  # what is brighter than paper keeps its place above


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_brighter_is_brighter(transfer: int) -> None:
    ramp = np.repeat(np.linspace(0, 65535, 500).astype(np.uint16)[None, :, None], 3, axis=2)
    levels = ordinary_rgb(ramp, transfer=transfer, primaries=BT2020)[0, :, 1].astype(int)
    assert (np.diff(levels) >= 0).all()


def test_colours_of_ordinary_video_come_back() -> None:
    # (0.8, 0.3, 0.2) of BT.709 in light of at most 203 nits, in the primaries of BT.2020 (BT.2087), as PQ.
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    nits = 100 * to_bt2020 @ np.array([0.8, 0.3, 0.2])
    power = (nits / 10_000) ** (1305 / 8192)
    signal = ((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    wanted = 255 * (100 / 203 * np.array([0.8, 0.3, 0.2])) ** (1 / 2.4)
    assert shown((signal[0], signal[1], signal[2]), transfer=PQ) == pytest.approx(wanted.tolist(), abs=3)


def first_frame(path: Path) -> Frame:
    with PyAVSource(StreamSpec("s", str(path), StreamKind.FILE), settings=DecodeSettings()) as source:
        return next(iter(source))


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_a_clip(tmp_path: Path, transfer: int) -> None:
    level = round(255 * SIGNALS[transfer][2])
    picture = np.full((48, 64), level, np.uint8)
    options: dict[str, Any] = {"pix_fmt": "yuv420p10le", "num_frames": 2, "is_full_range": False}
    plain, hdr = (
        first_frame(make_clip(tmp_path / f"{name}.mp4", picture=lambda _: picture, transfer=which, **options))
        for name, which in (("plain", None), ("hdr", transfer))
    )
    assert np.abs(hdr.luma.astype(int) - plain.luma).max() <= LOSSY_TOLERANCE, "what is classified stays as it was"
    assert plain.rgb()[24, 32].tolist() == pytest.approx([level] * 3, abs=3)
    wanted = shown(level / 255, transfer=transfer)
    assert hdr.rgb().dtype == np.uint8 and hdr.rgb().shape == (48, 64, 3)
    assert hdr.rgb()[24, 32].tolist() == pytest.approx(wanted, abs=4)
