"""Sources of the service: made of what was checked, and not led elsewhere by what they open."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from emostream.config import load_settings
from emostream.decode.source import FrameSource
from emostream.errors import SourceError, SourceRejectedError
from emostream.service.parts import WorkerParts
from emostream.service.source_policy import SourcePolicy
from emostream.stream import StreamKind, StreamSpec
from tests.media import http_server, make_clip


def source_of(url: str, *, media_root: Path | None = None, networks: tuple[str, ...] = ()) -> FrameSource:
    settings = load_settings(
        service={"media_root": media_root, "allowed_networks": networks},
        decode={"open_timeout_seconds": 2.0, "read_timeout_seconds": 2.0},
    )
    parts = WorkerParts(settings, models=None, policy=SourcePolicy(settings.service))  # type: ignore[arg-type]
    return parts.source(StreamSpec("x", url, StreamKind.FILE), on_state=lambda state, detail: None)


def num_frames(source: FrameSource) -> int:
    with source:
        return len(list(source))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_clip(tmp_path / "clip.mp4", num_frames=5)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n")
    return tmp_path


def test_a_file_under_the_media_root_is_read(folder: Path) -> None:
    assert num_frames(source_of(f"file://{folder}/clip.mp4", media_root=folder)) == 5


def test_the_policy_is_asked_at_each_opening(folder: Path) -> None:
    with http_server(folder) as base:
        assert num_frames(source_of(f"{base}/clip.mp4", networks=("127.0.0.0/8",))) == 5
        with pytest.raises(SourceRejectedError, match="not at a public address"):
            num_frames(source_of(f"{base}/clip.mp4"))


def test_playlists_are_not_followed(folder: Path) -> None:
    with http_server(folder) as base, pytest.raises(SourceError):
        num_frames(source_of(f"{base}/list.m3u8", networks=("127.0.0.0/8",)))


class _Redirect(http.server.BaseHTTPRequestHandler):
    target: ClassVar[str] = ""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.target)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def redirecting(folder: Path) -> Iterator[str]:
    with http_server(folder) as base:
        _Redirect.target = f"{base}/clip.mp4"
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Redirect) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/clip.mp4"
            server.shutdown()


def test_redirects_are_not_followed(redirecting: str) -> None:
    with pytest.raises(SourceError):
        num_frames(source_of(redirecting, networks=("127.0.0.0/8",)))
