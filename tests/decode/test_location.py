"""Which addresses are accepted, and what FFmpeg is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emostream.config import DecodeSettings
from emostream.decode.location import parse_location
from emostream.errors import SourceRejectedError
from tests.media import make_clip

SETTINGS = DecodeSettings(open_timeout_seconds=1.0, read_timeout_seconds=2.5, rtsp_transport="udp")


def test_local_file_cannot_lead_to_the_network(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "concat:a.mp4", num_frames=1)
    for url in (str(clip), f"file://{clip}"):
        location = parse_location(url, settings=SETTINGS)
        assert location.address == f"file:{clip}"
        assert not location.is_network
        assert location.options["protocol_whitelist"] == "file,crypto"


def test_rtsp_options() -> None:
    location = parse_location("rtsp://user:secret@camera/1", settings=SETTINGS)
    assert location.is_network
    assert location.options["rtsp_transport"] == "udp"
    assert location.options["timeout"] == "4500000"
    assert "file" not in location.options["protocol_whitelist"].split(",")
    assert location.name == "rtsp://***@camera/1"
    assert "secret" not in repr(location)


@pytest.mark.parametrize("scheme", ["http", "https", "rtmp", "srt", "udp", "tcp", "HTTP"])
def test_network_sources_cannot_lead_to_files(scheme: str) -> None:
    options = parse_location(f"{scheme}://host/path", settings=SETTINGS).options
    assert options["rw_timeout"] == "4500000"
    assert "file" not in options["protocol_whitelist"].split(",")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gopher://host/x", "unsupported scheme 'gopher'"),
        ("concat://a|b", "unsupported scheme"),
        ("missing.mp4", "no such file"),
        ("concat:a.mp4|b.mp4", "no such file"),
        ("a\0b", "null byte"),
        ("x" * 5000, "too long"),
        ("/dev/null", "regular file"),
    ],
)
def test_rejects(url: str, said: str) -> None:
    with pytest.raises(SourceRejectedError, match=said):
        parse_location(url, settings=SETTINGS)


def test_rejects_folder_and_empty_file(tmp_path: Path) -> None:
    with pytest.raises(SourceRejectedError):
        parse_location(str(tmp_path), settings=SETTINGS)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SourceRejectedError, match="0 bytes"):
        parse_location(str(tmp_path / "empty.mp4"), settings=SETTINGS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_rejects_unreadable_file(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=1)
    clip.chmod(0)
    with pytest.raises(SourceRejectedError):
        parse_location(str(clip), settings=SETTINGS)


def test_permission_denied_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=1)

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceRejectedError):
        parse_location(str(clip), settings=SETTINGS)
