"""Why a source cannot be read is said, and what can be read after all is read."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from emostream.config import DecodeSettings
from emostream.decode.open_source import open_once
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceError, SourceRejectedError, SourceUnavailableError
from tests.media import http_server, make_clip
from tests.publish.redis.test_servers import make_certificate

SETTINGS = DecodeSettings(open_timeout_seconds=5, read_timeout_seconds=5)
DRM = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def error_of(url: str, *, kind: StreamKind = StreamKind.FILE, settings: DecodeSettings = SETTINGS) -> SourceError:
    with (
        pytest.raises(SourceError) as caught,
        open_once(StreamSpec("x", url, kind), settings=settings) as source,
    ):
        list(source)
    return caught.value


@pytest.mark.parametrize("name", ["n{}", "n{}.jpg", "n{}.php", "n{}.TS", "n{}.mp2t"])
@pytest.mark.parametrize("references", ["all", "hls"])
def test_segments_may_be_called_anything(tmp_path: Path, name: str, references: str) -> None:
    clip = make_clip(tmp_path / "clip.ts", num_frames=5)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1"]
    for number in range(2):
        (tmp_path / name.format(number)).write_bytes(clip.read_bytes())
        lines += ["#EXT-X-DISCONTINUITY", "#EXTINF:0.2,", name.format(number)]
    (tmp_path / "list.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    settings = DecodeSettings(references=references)
    with (
        http_server(tmp_path) as base,
        open_once(StreamSpec("x", f"{base}/list.m3u8", StreamKind.FILE), settings=settings) as source,
    ):
        assert len(list(source)) == 10


@pytest.mark.parametrize("name", ["n{}", "n{}.jpg"])
def test_segments_of_a_local_playlist_may_be_called_anything(tmp_path: Path, name: str) -> None:
    (tmp_path / name.format(0)).write_bytes(make_clip(tmp_path / "clip.ts", num_frames=5).read_bytes())
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.2,\n{name.format(0)}\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(playlist)
    with open_once(StreamSpec("x", str(tmp_path / "list.m3u8"), StreamKind.FILE), settings=SETTINGS) as source:
        assert len(list(source)) == 5


@pytest.mark.parametrize("name", ["list.txt", "list.html", "list", "list.json"])
def test_a_playlist_may_be_called_anything(tmp_path: Path, name: str) -> None:
    """And be sent as `text/html`."""
    make_clip(tmp_path / "clip.ts", num_frames=5)
    (tmp_path / name).write_text("#EXTM3U\r\n#EXT-X-TARGETDURATION:1\r\n#EXTINF:0.2,\r\nclip.ts\r\n#EXT-X-ENDLIST\r\n")
    with http_server(tmp_path) as base:
        with open_once(StreamSpec("x", f"{base}/{name}", StreamKind.FILE), settings=SETTINGS) as source:
            assert len(list(source)) == 5
        forbidden = DecodeSettings(references="none")
        assert type(error_of(f"{base}/{name}", settings=forbidden)) is SourceRejectedError


def test_a_playlist_that_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.ts", num_frames=5)
    playlist = "\ufeff#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.2,\nclip.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(playlist, encoding="utf-8")
    with http_server(tmp_path) as base:
        assert "byte order mark" in str(error_of(f"{base}/list.m3u8"))


def test_segments_encrypted_with_a_key_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AES-128 of HLS, which is no DRM."""
    monkeypatch.chdir(tmp_path)  # where FFmpeg writes the key
    key = {"hls_enc": "1", "hls_enc_key": "00112233445566778899aabbccddeeff", "hls_enc_key_url": "list.m3u8.key"}
    with av.open(str(tmp_path / "list.m3u8"), "w", format="hls", options={"hls_list_size": "0", **key}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    assert "METHOD=AES-128" in (tmp_path / "list.m3u8").read_text()
    with (
        http_server(tmp_path) as base,
        open_once(StreamSpec("x", f"{base}/list.m3u8", StreamKind.FILE), settings=SETTINGS) as source,
    ):
        assert len(list(source)) == 10


@pytest.mark.parametrize("path", ["live.m3u8", "live.ts"])
def test_what_has_not_begun_yet(tmp_path: Path, path: str) -> None:
    with http_server(tmp_path) as base:
        assert type(error_of(f"{base}/{path}", kind=StreamKind.LIVE)) is SourceUnavailableError
        assert type(error_of(f"{base}/{path}", kind=StreamKind.FILE)) is SourceRejectedError


@pytest.mark.parametrize("is_variant", [False, True])
def test_a_live_playlist_without_segments_has_not_begun_yet(tmp_path: Path, is_variant: bool) -> None:
    (tmp_path / "live.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\nlive.m3u8\n")
    with http_server(tmp_path) as base:
        url = f"{base}/{'list' if is_variant else 'live'}.m3u8"
        assert type(error_of(url, kind=StreamKind.LIVE)) is SourceUnavailableError
        assert type(error_of(url, kind=StreamKind.FILE)) is SourceRejectedError


@pytest.mark.parametrize("format", ["mpegts", "flv"])
def test_a_live_source_that_begins_with_its_sound(tmp_path: Path, format: str) -> None:
    with av.open(str(tmp_path / "sound"), "w", format=format) as container:
        stream = container.add_stream("aac", rate=44100)
        for _ in range(200):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
    with http_server(tmp_path) as base:
        assert type(error_of(f"{base}/sound", kind=StreamKind.LIVE)) is SourceUnavailableError
        assert type(error_of(f"{base}/sound", kind=StreamKind.FILE)) is SourceRejectedError


@pytest.mark.parametrize("kind", list(StreamKind))
@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        ("gone.ts", "/gone.ts, which answers with HTTP status 404"),
        ("page.html", "web page"),
        ("http://127.0.0.1:{port}/a.ts", "/a.ts: "),
    ],
)
def test_segments_that_cannot_be_read(tmp_path: Path, segment: str, reason: str, kind: StreamKind) -> None:
    (tmp_path / "page.html").write_text("<!DOCTYPE html><html><body>Please log in</body></html>")
    with socket.socket() as refusing, http_server(tmp_path) as base:
        refusing.bind(("127.0.0.1", 0))
        named = segment.format(port=refusing.getsockname()[1])
        (tmp_path / "media.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{named}\n#EXT-X-ENDLIST\n")
        (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\nmedia.m3u8\n")
        for name in ("media", "list"):
            assert reason in str(error_of(f"{base}/{name}.m3u8", kind=kind))


def test_what_is_encrypted(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=10, mux_options=DRM)
    error = error_of(str(clip))
    assert type(error) is SourceRejectedError
    assert "DRM" in str(error)
    (tmp_path / "list.m3u8").write_text(
        '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://key",'
        'KEYFORMAT="com.apple.streamingkeydelivery"\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n'
    )
    with http_server(tmp_path) as base:
        assert "DRM" in str(error_of(f"{base}/list.m3u8"))


def test_a_web_page_and_a_server_without_ranges(tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"<!DOCTYPE html><html><body>Please log in</body></html>" * 20)
    noise = np.random.default_rng(0).integers(0, 256, (20, 240, 320), dtype=np.uint8)
    make_clip(
        tmp_path / "clip.mp4", num_frames=20, width=320, height=240, picture=lambda index: noise[index], faststart=False
    )
    with http_server(tmp_path) as base:
        assert "web page" in str(error_of(f"{base}/page"))
        assert "Range" in str(error_of(f"{base}/clip.mp4"))


@pytest.mark.integration
def test_a_certificate_that_is_not_valid(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    make_clip(tmp_path / "clip.ts", num_frames=5)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    handler = lambda *args: http.server.SimpleHTTPRequestHandler(*args, directory=str(tmp_path))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = SETTINGS.model_copy(update={"verify_tls": True})
        assert "certificate" in str(error_of(f"https://127.0.0.1:{server.server_port}/clip.ts", settings=settings))
        server.shutdown()


@contextlib.contextmanager
def camera_that_offers(algorithms: Sequence[str]) -> Iterator[str]:
    """An RTSP server with these offers; who logs in with MD5 is told that there is no such stream (404)."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while request := self.rfile.readline().decode():
                head = request
                while (line := self.rfile.readline().decode()).strip():
                    head += line
                found = re.search(r"CSeq: (\d+)", head)
                given = dict(re.findall(r'(\w+)="([^"]*)"', head))
                asked = md5(f"{request.split()[0]}:{given.get('uri')}")
                answer = f"RTSP/1.0 401 No\r\nCSeq: {found[1] if found else 0}\r\n"
                for algorithm in algorithms:
                    answer += f'WWW-Authenticate: Digest realm="camera", nonce="n", algorithm={algorithm}\r\n'
                if given.get("response") == md5(f"{md5('admin:camera:secret')}:n:{asked}"):
                    answer = f"RTSP/1.0 404 Not Found\r\nCSeq: {found[1] if found else 0}\r\n"
                self.wfile.write(f"{answer}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"rtsp://admin:secret@127.0.0.1:{server.server_address[1]}/live"
        server.shutdown()


@pytest.mark.parametrize("algorithms", [["MD5"], ["MD5", "SHA-256"], ["SHA-256", "MD5"], ["MD5", "SHA-512-256"]])
def test_a_camera_that_offers_more_logins_than_are_known(algorithms: list[str]) -> None:
    with camera_that_offers(algorithms) as url:
        assert "404" in str(error_of(url, kind=StreamKind.LIVE))


def test_a_camera_that_offers_only_what_is_not_known() -> None:
    with camera_that_offers(["SHA-256"]) as url:
        error = error_of(url, kind=StreamKind.LIVE)
    assert type(error) is SourceRejectedError
    assert "SHA-256" in str(error)
    assert "secret" not in str(error)
