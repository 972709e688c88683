"""Hardware decoding is asked for where it is there, and its absence is seen, not hidden."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emostream.config import DecodeSettings
from emostream.decode import hardware
from emostream.decode.hardware import decoder_name, is_usable, usable_hardware
from emostream.decode.pyav_source import PyAVSource
from emostream.domain.stream import StreamKind, StreamSpec
from tests.media import make_clip


def test_none_asks_no_device() -> None:
    assert usable_hardware("none") is None


@pytest.mark.skipif(is_usable("cuda"), reason="there is a GPU here")
def test_a_missing_device_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    hardware._tell_missing.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert usable_hardware("cuda") is None
        assert usable_hardware("cuda") is None
    assert [record.message for record in caplog.records if "no such device" in record.message] == [
        "decode.hwaccel is cuda, but there is no such device; videos are decoded by the processor"
    ]


@pytest.mark.parametrize("choice", ["none", "auto", "cuda"])
def test_the_decoder_in_use_is_named(tmp_path: Path, choice: Any) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=5)
    spec = StreamSpec("clip", str(clip), StreamKind.FILE)
    with PyAVSource(spec, settings=DecodeSettings(hwaccel=choice)) as source:
        assert len(list(source)) == 5
        assert source.info.decoder == ("h264 (cuda)" if choice != "none" and is_usable("cuda") else "h264")


def test_pictures_tell_where_they_were_decoded() -> None:
    def picture(pixel_format: str) -> Any:
        return SimpleNamespace(format=SimpleNamespace(name=pixel_format))

    assert decoder_name("h264", "cuda", picture("nv12")) == "h264 (cuda)"
    assert decoder_name("h264", "cuda", picture("yuv420p")) == "h264", "it fell back"
    assert decoder_name("h264", None, picture("nv12")) == "h264"
