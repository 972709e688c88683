"""What a caller names and what is read for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from emostream.analysis.sources import list_sources, specs_of
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError, SourceRejectedError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos, one of them in a folder of its own, and a text."""
    (tmp_path / "inner").mkdir()
    for name in ("b.MP4", "inner/a.mkv", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_files_folders_patterns_and_urls_in_their_order(folder: Path) -> None:
    named: list[Any] = ["rtsp://camera/1", folder, str(folder / "*.MP4"), folder / "notes.txt", "absent.mp4"]
    assert list_sources(named) == [
        "rtsp://camera/1",
        str(folder / "b.MP4"),
        str(folder / "inner/a.mkv"),
        str(folder / "notes.txt"),
        "absent.mp4",
    ]


def test_a_file_that_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "clip[1].mp4").touch()
    assert list_sources(tmp_path / "clip[1].mp4") == [str(tmp_path / "clip[1].mp4")]


@pytest.mark.skipif(sys.platform != "linux", reason="cameras by number are read on Linux")
def test_a_number_is_a_camera() -> None:
    assert list_sources(0) == ["v4l2:///dev/video0"]
    assert list_sources([1, "a.mp4"]) == ["v4l2:///dev/video1", "a.mp4"]


@pytest.mark.parametrize("named", [[], b"content", 1.5, None, True, -1, [None]])
def test_what_names_no_source_is_refused(named: Any) -> None:
    with pytest.raises(ConfigError):
        list_sources(named)


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for named in (tmp_path, str(tmp_path / "*.mp4")):
        with pytest.raises(SourceRejectedError):
            list_sources(named)


def test_ids_are_made_of_names_and_differ() -> None:
    specs = specs_of(
        ["a/clip.mp4", "b/clip.mp4", "rtsp://camera/front"], stream_id=None, every=2, target_fps=5.0, max_frames=7
    )
    assert [spec.stream_id for spec in specs] == ["clip", "clip-2", "front"]
    assert [spec.kind for spec in specs] == [StreamKind.FILE, StreamKind.FILE, StreamKind.LIVE]
    assert {(spec.every, spec.target_fps, spec.max_frames) for spec in specs} == {(2, 5.0, 7)}


def test_long_ids_stay_legal_when_numbered() -> None:
    specs = specs_of(["x.mp4", "y.mp4"], stream_id="n" * 64, every=1, target_fps=None, max_frames=None)
    assert [len(spec.stream_id) for spec in specs] == [64, 62]


def test_a_folder_that_is_called_like_a_video_is_none(folder: Path) -> None:
    (folder / "c.mp4").mkdir()
    assert list_sources(folder) == [str(folder / "b.MP4"), str(folder / "inner/a.mkv")]
