"""What is fetched from untrusted places: pinned to the checked address, bounded, redirects held to the same rule."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from emostream.config import ServiceSettings
from emostream.errors import SourceError, SourceRejectedError, SourceTimeoutError, SourceUnavailableError
from emostream.service.egress.fetch import fetch
from emostream.service.egress.policy import SourcePolicy
from tests.ports import unused_port

NETWORKS = ("127.0.0.0/8",)


class _Server(http.server.BaseHTTPRequestHandler):
    hosts: ClassVar[list[str]] = []
    go_on: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            self.go_on.wait(5)
        elif self.path.startswith("/dripping/"):
            self._drip(self.path.removeprefix("/dripping/"))
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 1000)

    def _drip(self, part: str) -> None:
        """A byte of the head or of the body now and then, so that no single read takes long."""
        self.send_response(200)
        if part == "body":
            self.end_headers()
        self.flush_headers()
        with contextlib.suppress(OSError):
            for _ in range(100):
                if self.go_on.wait(0.1):
                    return
                self.wfile.write(b"x")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def base() -> Iterator[str]:
    _Server.hosts.clear()
    _Server.go_on = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        _Server.go_on.set()
        server.shutdown()


def fetched(
    url: str, *, max_bytes: int = 2000, timeout_seconds: float = 2.0, policy: SourcePolicy | None = None
) -> bytes:
    policy = policy or SourcePolicy(ServiceSettings(allowed_networks=NETWORKS))
    return fetch(url, policy=policy, max_bytes=max_bytes, timeout_seconds=timeout_seconds)


def test_content_and_relative_redirects(base: str) -> None:
    assert fetched(f"{base}/picture") == b"x" * 1000
    assert fetched(f"{base}/to/{base}/picture") == b"x" * 1000


def test_the_address_that_was_checked_is_connected_to(base: str) -> None:
    policy = SourcePolicy(ServiceSettings(allowed_networks=NETWORKS), resolver=lambda host: ["127.0.0.1"])
    port = base.rpartition(":")[2]
    assert fetched(f"http://camera.example:{port}/picture", policy=policy) == b"x" * 1000  # a name nobody else knows
    assert _Server.hosts == [f"camera.example:{port}"], "the name is still what the server is asked for"


@pytest.mark.parametrize(
    "target", ["http://10.0.0.1/", "file:///etc/passwd", "rtsp://127.0.0.1/", "http://[bad", "gopher://127.0.0.1/"]
)
def test_redirects_to_what_may_not_be_opened(base: str, target: str) -> None:
    with pytest.raises(SourceRejectedError):
        fetched(f"{base}/to/{target}")


@pytest.mark.parametrize(
    ("path", "limits", "error"),
    [
        ("/loop", {}, SourceRejectedError),
        ("/long", {"max_bytes": 999}, SourceRejectedError),
        ("/slow", {"timeout_seconds": 0.2}, SourceTimeoutError),
        ("/dripping/head", {"timeout_seconds": 0.5}, SourceTimeoutError),
        ("/dripping/body", {"timeout_seconds": 0.5}, SourceTimeoutError),
    ],
)
def test_limits(base: str, path: str, limits: dict[str, float], error: type[SourceError]) -> None:
    with pytest.raises(error):
        fetched(base + path, **limits)  # type: ignore[arg-type]


def test_an_unreachable_server() -> None:
    with pytest.raises(SourceUnavailableError):
        fetched(f"http://127.0.0.1:{unused_port()}/")


def test_files_of_the_media_root(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"png")
    policy = SourcePolicy(ServiceSettings(media_root=tmp_path))
    assert fetched(f"file://{tmp_path}/picture.png", policy=policy) == b"png"
    with pytest.raises(SourceRejectedError):
        fetched(f"file://{tmp_path}", policy=policy)
