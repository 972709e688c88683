"""Files in object stores are read frame by frame, and what goes wrong there is said in our words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from emostream.config import DecodeSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.remote_file import is_remote, list_remote, open_remote
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceError, SourceRejectedError, SourceUnavailableError
from tests.media import make_clip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """An object store in memory with clips in it."""
    store = fsspec.filesystem("memory")
    content = make_clip(tmp_path / "clip.mp4", num_frames=20).read_bytes()
    for name in ("videos/b.mp4", "videos/2026/a.mp4", "other/c.mp4"):
        store.pipe(f"/{name}", content)
    store.pipe("/videos/list.m3u8", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    yield store
    store.rm("/", recursive=True)


def num_frames(url: str) -> int:
    with PyAVSource(StreamSpec("x", url, StreamKind.FILE), settings=DecodeSettings()) as source:
        return len(list(source))


def test_which_urls_are_remote() -> None:
    assert is_remote("s3://bucket/a.mp4")
    assert is_remote("GS://bucket/a.mp4")
    assert not any(is_remote(url) for url in ("a.mp4", "file:///a.mp4", "http://host/a.mp4", "rtsp://camera/1"))


def test_a_clip_is_read_to_its_end(store: Any) -> None:
    assert num_frames("memory://videos/b.mp4") == 20


def test_all_files_under_a_prefix(store: Any) -> None:
    assert list_remote("memory://videos/") == [
        "memory:///videos/2026/a.mp4",
        "memory:///videos/b.mp4",
        "memory:///videos/list.m3u8",
    ]
    assert list_remote("memory://nothing/") == []


def test_a_list_of_other_files_is_not_followed(store: Any) -> None:
    with pytest.raises(SourceRejectedError):
        num_frames("memory://videos/list.m3u8")


def test_what_is_not_there() -> None:
    with pytest.raises(SourceRejectedError, match=r"absent\.mp4"):
        num_frames("memory://videos/absent.mp4")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError("access denied"), SourceRejectedError),
        (ImportError("Install s3fs to access S3"), SourceRejectedError),
        (TimeoutError("no answer"), SourceUnavailableError),
        (RuntimeError("the store's own error, token=abc"), SourceUnavailableError),
    ],
)
def test_errors_of_stores(monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[SourceError]) -> None:
    def fail(url: str, **options: object) -> None:
        raise error

    monkeypatch.setattr(fsspec, "url_to_fs", fail)
    for call in (open_remote, list_remote):
        with pytest.raises(expected) as caught:
            call("s3://user:secret@bucket/a.mp4")
        assert "secret" not in str(caught.value)
        assert "abc" not in str(caught.value)
