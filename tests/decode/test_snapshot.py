"""Cameras that answer each request with one picture, and streams of pictures that FFmpeg does not know by itself."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import itertools
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from emostream.config import DecodeSettings
from emostream.decode.open_source import open_once, open_source
from emostream.decode.source import FrameSource
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceRejectedError, SourceUnavailableError

SETTINGS = DecodeSettings(open_timeout_seconds=5, read_timeout_seconds=5)


def jpeg(level: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(level).integers(0, 16, (240, 320), dtype=np.uint8)
    Image.fromarray(noise + np.uint8(level)).save(file, "JPEG", quality=95)
    return file.getvalue()


class Camera(http.server.BaseHTTPRequestHandler):
    """Answers by the path; counts its requests."""

    protocol_version = "HTTP/1.1"
    num_requests: ClassVar[int]
    headers_seen: ClassVar[list[dict[str, str]]]

    def do_GET(self) -> None:
        type(self).num_requests += 1
        self.headers_seen.append(dict(self.headers.items()))
        answer: Callable[[], None] = getattr(self, self.path.split("/")[1].partition("?")[0])
        with contextlib.suppress(ConnectionError):
            answer()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _send(self, content: bytes, *, kind: str = "image/jpeg", **headers: str) -> None:
        self.send_response(200)
        for name, value in ({"Content_Type": kind, "Content_Length": str(len(content))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def _empty(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": "0"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _picture(self) -> bytes:
        return jpeg(20 * self.num_requests % 200)

    def length(self) -> None:
        self._send(self._picture())

    def chunked(self) -> None:
        content = self._picture()
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content))

    def unsaid(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self._picture())

    def png(self) -> None:
        file = io.BytesIO()
        Image.fromarray(np.full((48, 64), 90, np.uint8)).save(file, "PNG")
        self._send(file.getvalue(), kind="image/png")

    def etag(self) -> None:
        version = f'"{self.num_requests // 4}"'  # another picture with every fourth request
        if self.headers.get("If-None-Match") == version:
            self._empty(304)
        else:
            self._send(self._picture(), ETag=version)

    def modified(self) -> None:
        at = f"Mon, 30 Nov 2026 12:00:0{self.num_requests // 4} GMT"
        if self.headers.get("If-Modified-Since") == at:
            self._empty(304)
        else:
            self._send(self._picture(), Last_Modified=at)

    def basic(self) -> None:
        if self.headers.get("Authorization") == f"Basic {base64.b64encode('ü:p/w'.encode()).decode()}":
            self._send(self._picture())
        else:
            self._empty(401, WWW_Authenticate='Basic realm="camera"')

    def digest(self) -> None:
        def md5(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', self.headers.get("Authorization", "")))
        asked = md5(f"GET:{fields.get('uri')}")
        expected = md5(
            f"{md5('ü:camera:p/w')}:nonsense:{fields.get('nc')}:{fields.get('cnonce')}:{fields.get('qop')}:{asked}"
        )
        if fields.get("response") == expected:
            self._send(self._picture())
        else:
            self._empty(401, WWW_Authenticate='Digest realm="camera", nonce="nonsense", qop="auth", algorithm=MD5')

    def damaged(self) -> None:
        self._send(self._picture() if self.num_requests % 2 else b"\xff\xd8\xff\xe0 busy")

    def page(self) -> None:
        if self.num_requests == 1:
            self._send(self._picture())
        else:
            self._send(b"<html>please log in</html>", kind="text/html")

    # streams of pictures

    def _stream(self, kind: str, part: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        for index in range(400):
            content = jpeg(index % 200)
            self.wfile.write(part.replace(b"LENGTH", str(len(content)).encode()) + content + b"\r\n")
            time.sleep(0.01)

    def jpg(self) -> None:
        self._stream(
            "multipart/x-mixed-replace;boundary=b", b"--b\r\nContent-Type: image/jpg\r\nContent-Length: LENGTH\r\n\r\n"
        )

    def size(self) -> None:
        self._stream(
            "multipart/x-mixed-replace;boundary=b",
            b"--b\r\nContent-Type: image/jpeg;size=LENGTH\r\nContent-Length: LENGTH\r\n\r\n",
        )

    def untyped(self) -> None:
        self._stream("multipart/x-mixed-replace;boundary=b", b"--b\r\nContent-Length: LENGTH\r\n\r\n")

    def plain(self) -> None:
        self._stream(
            "multipart/x-mixed-replace;boundary=b", b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: LENGTH\r\n\r\n"
        )

    def octets(self) -> None:
        self._stream("multipart/x-mixed-replace;boundary=b", b"--b\r\nContent-Type: application/octet-stream\r\n\r\n")

    def raw(self) -> None:
        self._stream("image/jpeg", b"")

    def preamble(self) -> None:
        head = b"This is a message in several parts.\r\n--b\r\nContent-Type: image/jpeg\r\n\r\n"
        self._stream("multipart/x-mixed-replace;boundary=b", head)

    def bare(self) -> None:
        """Its boundary lacks the two dashes."""
        self._stream("multipart/x-mixed-replace;boundary=--b", b"b\r\nContent-Type: image/jpeg\r\n\r\n")

    def longer(self) -> None:
        """Parts end before their headers say."""
        head = b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: 9LENGTH\r\n\r\n"
        self._stream("multipart/x-mixed-replace;boundary=b", head)

    def shorter(self) -> None:
        head = b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: 100\r\n\r\n"
        self._stream("multipart/x-mixed-replace;boundary=b", head)

    def other_boundary(self) -> None:
        self._stream("multipart/x-mixed-replace;boundary=a", b"--b\r\nContent-Type: image/jpeg\r\n\r\n")

    def unnamed(self) -> None:
        self._stream("multipart/x-mixed-replace", b"--b\r\nContent-Type: image/jpeg\r\n\r\n")

    def quoted(self) -> None:
        self._stream(
            'MULTIPART/X-MIXED-REPLACE; charset=utf-8; boundary="a b"', b"--a b\r\nCONTENT-TYPE: IMAGE/JPEG\r\n\r\n"
        )

    def mixed(self) -> None:
        self._stream("multipart/mixed; boundary=b", b"--b\r\nContent-Type: image/jpeg\r\n\r\n")

    def headers_first(self) -> None:
        more = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 90) for number in range(20))
        self._stream("multipart/x-mixed-replace;boundary=b", b"--b\r\n" + more + b"Content-Type: image/jpeg\r\n\r\n")

    def untold(self) -> None:
        self._stream("application/octet-stream", b"")

    def png_parts(self) -> None:
        file = io.BytesIO()
        Image.fromarray(np.full((48, 64), 90, np.uint8)).save(file, "PNG")
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=b")
        self.end_headers()
        for _ in range(400):
            self.wfile.write(b"--b\r\nContent-Type: image/png\r\n\r\n" + file.getvalue() + b"\r\n")
            time.sleep(0.01)


@pytest.fixture
def place() -> Iterator[str]:
    Camera.num_requests, Camera.headers_seen = 0, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def live(url: str, *, fps: float = 20.0, every: int = 1) -> FrameSource:
    return open_source(StreamSpec("door", url, StreamKind.LIVE, target_fps=fps, every=every), settings=SETTINGS)


@pytest.mark.parametrize("kind", ["length", "chunked", "unsaid", "png"])
def test_a_snapshot_is_fetched_again_and_again(place: str, kind: str) -> None:
    with live(f"http://{place}/{kind}") as source:
        frames = list(itertools.islice(source, 6))
    assert [frame.frame_index for frame in frames] == list(range(6))
    assert {frame.stream_id for frame in frames} == {"door"}
    times = [frame.pts_seconds for frame in frames]
    assert all(later - earlier >= 0.049 for earlier, later in itertools.pairwise(times))
    assert all(time == pytest.approx(round(time * 20) / 20) for time in times), "on the beat of the clock"
    assert len({int(frame.luma[0, 0]) for frame in frames}) > (1 if kind != "png" else 0)


def test_once_a_second_by_default(place: str) -> None:
    spec = StreamSpec("door", f"http://{place}/length", StreamKind.LIVE)
    with open_source(spec, settings=SETTINGS) as source:
        frames = list(itertools.islice(source, 2))
    assert frames[1].pts_seconds >= 1.0


def test_every_second_picture(place: str) -> None:
    with live(f"http://{place}/length", every=2) as source:
        frames = list(itertools.islice(source, 3))
    assert [frame.frame_index for frame in frames] == [0, 2, 4]


def test_pixels_have_the_shape_that_is_set(place: str) -> None:
    shapes = []
    for aspect in (None, 2.0):
        spec = StreamSpec("door", f"http://{place}/length", StreamKind.LIVE, target_fps=20, pixel_aspect=aspect)
        with open_source(spec, settings=SETTINGS) as source:
            shapes.append({frame.luma.shape for frame in itertools.islice(source, 3)})
    ((height, width),) = shapes[0]
    assert shapes[1] == {(height, 2 * width)}


@pytest.mark.parametrize(("kind", "header"), [("etag", "If-None-Match"), ("modified", "If-Modified-Since")])
def test_what_has_not_changed_gives_no_frame(place: str, kind: str, header: str) -> None:
    with live(f"http://{place}/{kind}", fps=50) as source:
        frames = list(itertools.islice(source, 4))
    assert len({int(frame.luma.mean()) for frame in frames}) == 4
    assert Camera.num_requests >= 8
    assert any(header in seen for seen in Camera.headers_seen)


@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_logins(place: str, kind: str) -> None:
    with live(f"http://ü:p/w@{place}/{kind}") as source:
        assert len(list(itertools.islice(source, 4))) == 4


def test_a_damaged_picture_is_left_out_and_counted(place: str) -> None:
    with live(f"http://{place}/damaged") as source:
        assert len(list(itertools.islice(source, 4))) == 4
        assert source.stats.num_corrupt >= 2


def test_a_page_in_place_of_the_picture(place: str) -> None:
    spec = StreamSpec("door", f"http://{place}/page", StreamKind.LIVE, target_fps=50)
    with open_once(spec, settings=SETTINGS) as source, pytest.raises(SourceUnavailableError, match="web page"):
        list(source)


def test_secrets_of_an_address_stay_out_of_logs(place: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), live(f"http://ü:p/w@{place}/basic?token=verysecret") as source:
        assert len(list(itertools.islice(source, 3))) == 3
    assert "verysecret" not in caplog.text
    assert "p/w" not in caplog.text


def test_the_info_says_that_it_is_polled(place: str) -> None:
    with live(f"http://{place}/length") as source:
        assert source.info.is_polled
    with live(f"http://{place}/plain") as source:
        assert not source.info.is_polled


STREAMS = ["plain", "jpg", "size", "untyped", "octets", "raw", "preamble", "bare", "longer", "shorter"]
STREAMS += ["other_boundary", "unnamed", "quoted", "mixed", "headers_first", "untold"]


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_of_pictures(place: str, kind: str) -> None:
    spec = StreamSpec("door", f"http://{place}/{kind}", StreamKind.LIVE)
    with open_once(spec, settings=SETTINGS) as source:
        frames = list(itertools.islice(source, 20))
    assert [frame.frame_index for frame in frames] == list(range(20))
    assert len({int(frame.luma.mean()) for frame in frames}) > 10
    assert all(earlier.pts_seconds < later.pts_seconds for earlier, later in itertools.pairwise(frames))


def test_parts_that_are_no_jpegs(place: str) -> None:
    spec = StreamSpec("door", f"http://{place}/png_parts", StreamKind.LIVE, target_fps=20)
    with open_once(spec, settings=SETTINGS) as source, pytest.raises(SourceRejectedError, match="JPEG"):
        list(source)
