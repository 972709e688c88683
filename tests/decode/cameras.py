"""Cameras on the loopback address with faults: a picture that stops while sound or metadata goes on, odd clocks."""

from __future__ import annotations

import base64
import contextlib
import io
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from tests.media import gray_level, video_frame

NUM_PICTURES = 10
"""That come out of one connection; then its picture stands."""

_NUM_SENT_BY_RTP = NUM_PICTURES + 1  # FFmpeg holds the last one back until it sees where the next begins

_WIDTH, _HEIGHT, _FPS = 64, 48, 25
_OTHER_SECONDS = 0.02  # between two packets of the other stream
_OTHER_PAYLOAD = {"sound": b"\xff" * 160, "metadata": b"<tt:MetadataStream/>"}
_SDP_OF_OTHER = {
    "sound": "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
    "metadata": "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n",
}
_PAYLOAD_TYPES = {"video": 96, "sound": 0, "metadata": 107}


class StoppingCamera:
    """What a camera counts.

    Attributes:
        url: of its stream.
        num_opened: connections that were made.
        num_open: connections that are open.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.num_opened = 0
        self.num_open = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Around each connection."""
        with self._lock:
            self.num_opened += 1
            self.num_open += 1
        try:
            yield
        finally:
            with self._lock:
                self.num_open -= 1


@contextlib.contextmanager
def stopping_rtsp_camera(*, other: str) -> Iterator[StoppingCamera]:
    """RTSP over TCP: FFmpeg gives the packets of the other stream out, whether they are wanted or not.

    Args:
        other: "sound" or "metadata", which goes on.
    """
    with _served(lambda camera: _rtsp_handler(camera, other=other), "rtsp://127.0.0.1:{port}/live") as camera:
        yield camera


@contextlib.contextmanager
def odd_clock_camera(stamp_of: Callable[[float], float], *, fps: int = 40, seconds: float = 1.5) -> Iterator[str]:
    """The URL of an RTSP camera that sends pictures at an even pace, and then hangs up.

    Args:
        stamp_of: seconds since it began → what its stamps say, in seconds.
        fps: pictures a second.
        seconds: how long it sends.
    """
    pictures = _coded_pictures(round(seconds * fps) + 1)  # FFmpeg holds the last one back

    def play(connection: io.BufferedIOBase) -> None:
        began = time.monotonic()
        for index, units in enumerate(pictures):
            time.sleep(max(0.0, began + index / fps - time.monotonic()))
            stamp = round(90_000 * (5 + stamp_of(index / fps)))
            for number, unit in enumerate(units):
                is_last = number == len(units) - 1
                connection.write(_rtp("video", 10 * index + number, stamp, unit, is_last=is_last))

    with _served(lambda camera: _rtsp_handler(camera, other="", play=play), "rtsp://127.0.0.1:{port}/live") as camera:
        yield camera.url


@contextlib.contextmanager
def mjpeg_camera(*, fps: float, num_pictures: int) -> Iterator[str]:
    """The URL of pictures over HTTP, one part after the other, without any clock."""
    levels = (np.full((_HEIGHT, _WIDTH), gray_level(index), np.uint8) for index in range(num_pictures))
    pictures = [cv2.imencode(".jpg", level)[1].tobytes() for level in levels]

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while self.rfile.readline().strip():
                    pass
                content_type = "multipart/x-mixed-replace; boundary=picture"
                self.wfile.write(f"HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode())
                began = time.monotonic()
                for index, picture in enumerate(pictures):
                    time.sleep(max(0.0, began + index / fps - time.monotonic()))
                    head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")

    with _served(lambda camera: Handler, "http://127.0.0.1:{port}/video") as camera:
        yield camera.url


@contextlib.contextmanager
def stopping_ts_camera() -> Iterator[StoppingCamera]:
    """MPEG-TS over HTTP: FFmpeg skips the other stream inside, where it is not wanted."""
    with _served(_ts_handler, "http://127.0.0.1:{port}/live.ts") as camera:
        yield camera


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextlib.contextmanager
def _served(
    make_handler: Callable[[StoppingCamera], type[socketserver.BaseRequestHandler]], url: str
) -> Iterator[StoppingCamera]:
    camera = StoppingCamera("")
    with _Server(("127.0.0.1", 0), make_handler(camera)) as server:
        camera.url = url.format(port=server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield camera
        finally:
            server.shutdown()
            thread.join()


def _rtsp_handler(
    camera: StoppingCamera, *, other: str, play: Callable[[io.BufferedIOBase], None] | None = None
) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with camera.connected(), contextlib.suppress(OSError):
                while request := self._request():
                    method, channel = request[0].split()[0], 2 * ("track=1" in request[0])
                    sequence = next(line for line in request if line.startswith("CSeq"))
                    head, body = _rtsp_answer(method, other=other, channel=channel)
                    length = f"Content-Length: {len(body)}\r\n" if body else ""
                    self.wfile.write(f"RTSP/1.0 200 OK\r\n{sequence}\r\n{head}{length}\r\n{body}".encode())
                    if method == "PLAY" and play is not None:
                        play(self.wfile)
                        return
                    if method == "PLAY":
                        _play(self.wfile, other=other)

        def _request(self) -> list[str]:
            lines = []
            while line := self.rfile.readline().decode("latin-1").strip():
                lines.append(line)
            return lines

    return Handler


def _play(connection: io.BufferedIOBase, *, other: str) -> None:
    """Until it is closed."""
    for index, units in enumerate(_coded_pictures()):
        for number, unit in enumerate(units):
            is_last = number == len(units) - 1
            connection.write(_rtp("video", 10 * index + number, 3600 * index, unit, is_last=is_last))
    for index in range(1_000_000):
        connection.write(_rtp(other, index, 160 * index, _OTHER_PAYLOAD[other], is_last=True))
        time.sleep(_OTHER_SECONDS)


def _rtp(kind: str, sequence: int, stamp: int, payload: bytes, *, is_last: bool) -> bytes:
    marked = _PAYLOAD_TYPES[kind] | (0x80 if is_last else 0)
    packet = struct.pack(">BBHII", 0x80, marked, sequence & 0xFFFF, stamp, 7) + payload
    return b"$" + struct.pack(">BH", 0 if kind == "video" else 2, len(packet)) + packet


def _rtsp_answer(method: str, *, other: str, channel: int) -> tuple[str, str]:
    """Headers and body."""
    if method == "OPTIONS":
        return "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""
    if method == "SETUP":
        return f"Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}\r\n", ""
    if method != "DESCRIBE":
        return "Session: 1\r\n", ""
    sets = [unit for unit in _coded_pictures()[0] if unit[0] & 31 in (7, 8)]
    sprop = ",".join(base64.b64encode(unit).decode() for unit in sets)
    sound = f"{_SDP_OF_OTHER[other]}a=control:track=1\r\n" if other else ""
    body = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=control:*\r\n"
        f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sprop}"
        f"\r\na=control:track=0\r\n{sound}"
    )
    return "Content-Type: application/sdp\r\n", body


def _coded_pictures(num_pictures: int = _NUM_SENT_BY_RTP) -> list[list[bytes]]:
    """The NAL units of each picture."""
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
    context.framerate, context.time_base = Fraction(_FPS), Fraction(1, _FPS)
    context.options = {"tune": "zerolatency", "x264-params": "log-level=none"}
    packets = [packet for index in range(num_pictures) for packet in context.encode(_picture(index))]
    return [_nal_units(bytes(packet)) for packet in [*packets, *context.encode(None)]]


def _picture(index: int) -> av.VideoFrame:
    frame = video_frame(np.full((_HEIGHT, _WIDTH), gray_level(index), np.uint8))
    frame.pts, frame.time_base = index, Fraction(1, _FPS)
    return frame


def _nal_units(annexb: bytes) -> list[bytes]:
    return [unit.rstrip(b"\0") for unit in annexb.split(b"\0\0\1")[1:]]


def _ts_handler(camera: StoppingCamera) -> type[socketserver.BaseRequestHandler]:
    content = _ts_with_short_video()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with camera.connected(), contextlib.suppress(OSError):
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n")
                num_at_once = len(content) // 3  # what FFmpeg reads before it says what it is
                self.wfile.write(content[:num_at_once])
                for position in range(num_at_once, len(content), 188):
                    self.wfile.write(content[position : position + 188])
                    time.sleep(_OTHER_SECONDS)

    return Handler


def _ts_with_short_video() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        video: Any = container.add_stream("libx264", rate=_FPS, options={"tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        sound: Any = container.add_stream("aac", rate=48_000, layout="mono")
        for index in range(NUM_PICTURES):
            container.mux(video.encode(_picture(index)))
        container.mux(video.encode(None))
        noise = np.random.default_rng(1)
        for position in range(0, 60 * 48_000, 1024):
            samples = noise.uniform(-0.5, 0.5, (1, 1024)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, position, Fraction(1, 48_000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return file.getvalue()
