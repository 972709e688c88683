"""A camera gets the very user and password that were typed."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from emostream.config import DecodeSettings, ServiceSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceUnavailableError
from emostream.service.egress.fetch import fetch
from emostream.service.egress.policy import SourcePolicy
from tests.media import make_clip

pytestmark = pytest.mark.integration

# As typed, and what it means.
PASSWORDS = {
    password: password.replace("%40", "@").replace("%25", "%")
    for password in (
        "1234#5x",
        "pa/ss",
        "12345/zebra",
        "ze bra",
        "p@ss",
        "p@s/s?",
        "50%",
        "a:b",
        '"',
        "é%40%25",
        "\\+;&",
    )
}
DECODE = DecodeSettings(open_timeout_seconds=5, read_timeout_seconds=5)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    make_clip(path, num_frames=3)
    return path.read_bytes()


@pytest.mark.parametrize("typed", PASSWORDS)
def test_over_http(clip: bytes, typed: str) -> None:
    expected = f"Basic {b64encode(f'admin:{PASSWORDS[typed]}'.encode()).decode()}"

    class Camera(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.headers.get("Authorization") == expected
            self.send_response(200 if is_known else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Length", str(len(clip) if is_known else 0))
            self.end_headers()
            if is_known:
                self.wfile.write(clip)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://admin:{typed}@127.0.0.1:{server.server_port}/clip.mp4"
        with PyAVSource(StreamSpec("x", url, StreamKind.FILE), settings=DECODE) as source:
            assert len(list(source)) == 3
        policy = SourcePolicy(ServiceSettings(allowed_networks=("127.0.0.0/8",)))
        assert fetch(url, policy=policy, max_bytes=1 << 20, timeout_seconds=5) == clip
        server.shutdown()


@contextlib.contextmanager
def digest_camera(password: str) -> Iterator[int]:
    """An RTSP server that wants a digest login, and has nothing for who gives it: 404."""

    def answer_to(request: str) -> str:
        seq = re.search(r"CSeq: (\d+)", request)
        given = dict(re.findall(r'(\w+)="([^"]*)"', request.partition("Digest ")[2]))
        method, uri, _ = request.split(" ", 2)
        ha1, ha2 = md5(f"admin:camera:{password}"), md5(f"{method}:{uri}")
        is_known = given.get("response") == md5(f"{ha1}:n:{ha2}")
        status = "404 Not Found" if is_known else '401 No\r\nWWW-Authenticate: Digest realm="camera", nonce="n"'
        return f"RTSP/1.0 {status}\r\nCSeq: {seq[1] if seq else 0}\r\n\r\n"

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                while request := connection.recv(65536):
                    connection.sendall(answer_to(request.decode()).encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("typed", PASSWORDS)
def test_over_rtsp(typed: str) -> None:
    with digest_camera(PASSWORDS[typed]) as port:
        spec = StreamSpec("x", f"rtsp://admin:{typed}@127.0.0.1:{port}/live", StreamKind.LIVE)
        with pytest.raises(SourceUnavailableError), PyAVSource(spec, settings=DECODE):
            pass
