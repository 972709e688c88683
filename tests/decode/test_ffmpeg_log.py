"""What FFmpeg logs about a source that it cannot read stands in the error, without secrets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.config import DecodeSettings
from emostream.decode import ffmpeg_log
from emostream.decode.diagnosis import said_by_ffmpeg
from emostream.decode.ffmpeg_log import AskedRarely, last_line, last_log_line
from emostream.decode.location import Location, parse_location
from emostream.errors import SourceRejectedError
from tests.decode.conftest import Read
from tests.media import make_clip, rtsp_responder

SETTINGS = DecodeSettings(open_timeout_seconds=5, read_timeout_seconds=5)


@pytest.fixture(autouse=True)
def _asked_as_often_as_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg_log, "_RARELY", AskedRarely(1000))


@pytest.mark.parametrize(
    ("box", "said"),
    [
        pytest.param(b"stsd", "error reading header", id="header"),
        pytest.param(b"avcC", "splitting the input into NAL units", id="pictures"),
    ],
)
def test_it_stands_in_the_error(tmp_path: Path, read: Read, box: bytes, said: str) -> None:
    content = make_clip(tmp_path / "clip.mp4").read_bytes()
    place = content.index(box) + len(box)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content[:place] + bytes(30) + content[place + 30 :])
    if box == b"stsd":
        damaged.write_bytes(content[:place] + b"\xff" * 40 + content[place + 40 :])
    error = read(damaged).error
    assert type(error) is SourceRejectedError
    assert f"FFmpeg says: {said}" in str(error).replace("Error ", "")


def test_a_source_that_can_be_read_says_nothing(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    assert last_log_line(f"file:{clip}", options={}, format_name=None, timeout_seconds=5) == ""


@pytest.mark.parametrize("secret", ["zebra 7/#?", "zebrä"])
def test_a_camera_that_answers_with_an_error(secret: str) -> None:
    with rtsp_responder("551 Option not supported") as place:
        location = parse_location(f"rtsp://admin:{secret}@{place}/live?token=zebra42", settings=SETTINGS)
        line = said_by_ffmpeg(location, settings=SETTINGS)
    assert "551" in line
    assert "zebr" not in line and "admin" not in line


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12))
def test_lines_with_a_secret_are_left_out(password: str) -> None:
    from urllib.parse import quote

    address = f"rtsp://admin:{quote(password, safe='')}@10.0.0.7/live?pin=7391&profile=main"
    location = Location(address, "camera", True, {})
    for told in (password, quote(password, safe=""), "7391"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("emostream.decode.diagnosis.last_log_line", lambda *_, told=told, **__: f"bad {told} (rtsp)")
            assert said_by_ffmpeg(location, settings=SETTINGS) == ""


def test_the_address_goes_by_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments of a process can be seen by everybody."""
    seen: list[list[str]] = []
    run = subprocess.run

    def noted(command: list[str], **kwargs: object) -> object:
        seen.append(command)
        return run(command, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", noted)
    last_log_line("file:/zebra", options={"http_proxy": "http://zebra"}, format_name=None, timeout_seconds=5)
    assert len(seen) == 1 and not any("zebra" in part for part in seen[0])


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", ""),
        ("\n\n", ""),
        (
            "[rtsp @ 0x7f00] method DESCRIBE failed: 454 Session Not Found\n",
            "method DESCRIBE failed: 454 Session Not Found (rtsp)",
        ),
        ("[h264 @ 0x1] first\n[h264 @ 0x1] second.\n    Last message repeated 3 times\n", "second (h264)"),
        ("without a context\n", "without a context"),
        ("[a @ 0x1] tab\tand \x1b[31mcolour\n", "taband [31mcolour (a)"),
    ],
)
def test_the_last_line_counts(log: str, expected: str) -> None:
    assert last_line(log) == expected


def test_it_is_asked_rarely_and_once_at_a_time() -> None:
    now = [0.0]
    rarely = AskedRarely(3, clock=lambda: now[0])
    assert rarely.begin() and not rarely.begin()
    rarely.end()
    for _ in range(2):
        assert rarely.begin()
        rarely.end()
    assert not rarely.begin()
    now[0] = 61.0
    assert rarely.begin()
