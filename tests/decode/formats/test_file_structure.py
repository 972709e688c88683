"""What boxes say: missing bytes are counted, complete files are never accused, garbage never raises."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.decode.formats.file_structure import FileStructure, read_file_structure
from tests.media import make_clip, mp4_box

FORMATS = [
    pytest.param("clip.mp4", {}, id="mp4"),
    pytest.param("clip.mp4", {"faststart": False}, id="mp4, index at the end"),
    pytest.param("clip.mp4", {"mux_options": {"movflags": "frag_keyframe+empty_moov"}}, id="fragmented mp4"),
    pytest.param("clip.mov", {}, id="mov"),
    pytest.param("clip.mkv", {}, id="mkv"),
    pytest.param("clip.webm", {"codec": "libvpx-vp9"}, id="webm"),
    pytest.param("clip.avi", {"codec": "mpeg4"}, id="avi"),
]
COMPLETE = FileStructure()


def structure_of(content: bytes) -> FileStructure:
    return read_file_structure(io.BytesIO(content))


@pytest.mark.parametrize(("name", "arguments"), FORMATS)
def test_complete_and_cut(tmp_path: Path, name: str, arguments: dict[str, object]) -> None:
    content = make_clip(tmp_path / name, **arguments).read_bytes()  # type: ignore[arg-type]
    assert structure_of(content) == COMPLETE
    cut = structure_of(content[: len(content) - 100])
    assert cut.num_missing_bytes > 0
    assert cut.num_missing_bytes <= 100
    assert not cut.is_index_missing


def test_index_lost_with_the_end(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "clip.mp4", faststart=False).read_bytes()
    assert structure_of(content[: len(content) // 2]).is_index_missing


def test_large_and_open_boxes() -> None:
    start = mp4_box(b"ftyp", b"isom") + mp4_box(b"moov", b"x" * 9)
    large = (1).to_bytes(4, "big") + b"mdat" + (16 + 50).to_bytes(8, "big")
    assert structure_of(start + large + b"x" * 50) == COMPLETE
    assert structure_of(start + large + b"x" * 20).num_missing_bytes == 30
    assert structure_of(start + (0).to_bytes(4, "big") + b"mdat" + b"x" * 20) == COMPLETE


def test_recording_in_progress_is_not_a_cut() -> None:
    unknown_size = b"\x01" + b"\xff" * 7
    assert structure_of(b"\x1aE\xdf\xa3\x80" + b"\x18S\x80g" + unknown_size + b"x" * 20) == COMPLETE
    assert structure_of(b"RIFF" + bytes(4) + b"AVI " + bytes(20)) == COMPLETE


@given(
    st.binary(max_size=300)
    | st.sampled_from([b"\0\0\0\x08ftyp", b"\x1aE\xdf\xa3", b"RIFF\x20\0\0\0AVI "]).flatmap(
        lambda head: st.binary(max_size=100).map(lambda tail: head + tail)
    )
)
def test_never_raises(content: bytes) -> None:
    assert structure_of(content).num_missing_bytes >= 0


def test_pictures_need_no_index() -> None:
    for brand in (b"avif", b"heic", b"mif1"):
        assert structure_of(mp4_box(b"ftyp", brand + bytes(8)) + mp4_box(b"meta", b"x" * 9)) == COMPLETE


@pytest.mark.parametrize(
    ("name", "arguments", "is_told", "is_unread"),
    [
        ("clip.mp4", {}, True, True),
        ("clip.mov", {}, True, True),
        ("clip.mp4", {"mux_options": {"movflags": "frag_keyframe+empty_moov"}}, True, False),
        ("clip.mkv", {}, True, False),
        ("clip.avi", {"codec": "mpeg4"}, False, False),
    ],
)
def test_recordings_put_together(
    tmp_path: Path, name: str, arguments: dict[str, Any], is_told: bool, is_unread: bool
) -> None:
    content = make_clip(tmp_path / name, **arguments).read_bytes()
    assert not structure_of(content).is_put_together
    assert not structure_of(content).is_rest_unread
    assert structure_of(2 * content).is_put_together == is_told
    assert structure_of(2 * content).is_rest_unread == is_unread
    assert structure_of(2 * content).num_missing_bytes == 0
