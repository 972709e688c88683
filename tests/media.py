"""Clips with known answers, made by the test that needs them, and servers that refuse in known ways.

Picture `i` of a clip is gray with full-range level `gray_level(i)` unless the test gives its own `picture(i)`. Samples
are written straight into the planes, so the expected value never passes through the code under test. Lossy codecs may
be off by a few levels: compare with `LOSSY_TOLERANCE`.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

import av
import numpy as np
import numpy.typing as npt
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace

Pixels = npt.NDArray[np.uint8]

LOSSY_TOLERANCE = 4
"""Quantisation of flat pictures at the encoders' default quality stays below this many gray levels."""

_TIME_BASE = Fraction(1, 1000)
_BT2020 = 9  # FFmpeg's number of its primaries, and of its matrix


def gray_level(index: int) -> int:
    """Full-range level of picture `index`: neighbours differ by more than twice the tolerance."""
    return 24 + (index * 37) % 208


def stored_level(level: int, *, is_full_range: bool) -> int:
    """The luma sample a full-range level is stored as."""
    return level if is_full_range else round(16 + level * 219 / 255)


def corner_picture(width: int, height: int) -> Pixels:
    """Four different quadrants, so that rotation and mirroring show: 40 100 / 160 220 (rows from the top)."""
    picture = np.empty((height, width), np.uint8)
    top, left = height // 2, width // 2
    picture[:top, :left], picture[:top, left:] = 40, 100
    picture[top:, :left], picture[top:, left:] = 160, 220
    return picture


def textured_picture(index: int, *, width: int, height: int) -> Pixels:
    """Noise with a bright textured square that moves to the right: enough work for a decoder to be measured."""
    noise = np.random.default_rng(7).integers(90, 130, (height, width), dtype=np.uint8)
    side = max(2, height // 4)
    left = (index * 5) % max(1, width - side)
    noise[side : 2 * side, left : left + side] += 100
    return noise


def make_clip(
    path: Path,
    *,
    num_frames: int = 10,
    width: int = 64,
    height: int = 48,
    fps: int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    is_full_range: bool | None = None,
    picture: Callable[[int], Pixels] | None = None,
    pts_seconds: Sequence[float] | None = None,
    gop_size: int = 12,
    rotation: int = 0,
    hflip: bool = False,
    vflip: bool = False,
    pixel_aspect: Fraction | None = None,
    transfer: int | None = None,
    audio: bool = False,
    cover_art: bool = False,
    faststart: bool = True,
    options: dict[str, str] | None = None,
    mux_options: dict[str, str] | None = None,
) -> Path:
    """Encode a clip; the container follows from the suffix.

    Args:
        is_full_range: written as the colour range; None leaves the range unsaid (samples are limited then).
        picture: H×W gray or H×W×3 RGB, full range, of picture `i`; `gray_level` by default.
        pts_seconds: one per picture, rounded to milliseconds (variable frame rate); constant rate by default.
        rotation: counter-clockwise degrees a player turns the picture by, written as display matrix.
        pixel_aspect: declared width of a pixel over its height, in the codec and in the container.
        transfer: declared transfer characteristic, with the primaries and the matrix of BT.2020 (FFmpeg's numbers).
    """
    mux = dict(mux_options or {})
    coding = ({"x265-params": "log-level=none"} if codec == "libx265" else {}) | (options or {})
    if path.suffix in (".mp4", ".mov") and faststart:
        mux.setdefault("movflags", "faststart")
    with _priority_kept(), av.open(str(path), "w", options=mux) as container:
        stream: Any = container.add_stream(codec, rate=fps, options=coding)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = gop_size
        if pts_seconds is not None:
            stream.codec_context.time_base = _TIME_BASE
        _declare(stream.codec_context, is_full_range=is_full_range, pixel_aspect=pixel_aspect, transfer=transfer)
        if rotation or hflip or vflip:
            stream.set_display_rotation(rotation, hflip=hflip, vflip=vflip)
        sound = container.add_stream("aac", rate=48_000, layout="mono") if audio else None
        cover = _add_cover_art(container) if cover_art else None
        for index in range(num_frames):
            level = np.full((height, width), gray_level(index), np.uint8)
            frame = video_frame(
                picture(index) if picture else level, pix_fmt=pix_fmt, is_full_range=bool(is_full_range)
            )
            if is_full_range is not None:
                frame.color_range = _color_range(is_full_range=is_full_range)
            if pts_seconds is None:
                frame.pts, frame.time_base = index, Fraction(1, fps)
            else:
                frame.pts, frame.time_base = round(pts_seconds[index] * 1000), _TIME_BASE
            container.mux(stream.encode(frame))
            if cover is not None and index == 0:
                container.mux(cover.encode(video_frame(np.full((16, 16), 255, np.uint8), pix_fmt="yuvj420p")))
        container.mux(stream.encode(None))
        if sound is not None:
            _encode_silence(container, sound, seconds=num_frames / fps)
    return path


@contextlib.contextmanager
def _priority_kept() -> Iterator[None]:
    """SVT-AV1 gives the thread of its caller real-time priority where it may (as root): all else would starve."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)


def _declare(context: Any, *, is_full_range: bool | None, pixel_aspect: Fraction | None, transfer: int | None) -> None:
    """Say how the pictures are meant; what is None stays unsaid."""
    if is_full_range is not None:
        context.color_range = _color_range(is_full_range=is_full_range)
    if pixel_aspect is not None:
        context.sample_aspect_ratio = pixel_aspect
    if transfer is not None:
        context.color_trc, context.color_primaries, context.colorspace = transfer, _BT2020, _BT2020


def add_png_chunk(path: Path, name: bytes, content: bytes) -> Path:
    """Put a chunk (a colour profile, EXIF, …) behind the header of a PNG file."""
    png = path.read_bytes()
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    header_end = 8 + 25  # signature, IHDR
    path.write_bytes(png[:header_end] + chunk + png[header_end:])
    return path


def make_talking_clip(
    path: Path,
    sound: npt.NDArray[np.float32],
    *,
    seconds: float,
    sound_begins: float = 0.0,
    picture_begins: float = 0.0,
    rate: int = 16_000,
    layout: str = "mono",
    codec: str = "aac",
) -> Path:
    """Gray pictures, ten a second, and sound (float32, mono, at `rate`); both begin at a time of the container."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio: Any = container.add_stream(codec, rate=rate, layout=layout)
        for index in range(round(seconds * 10)):
            picture = video_frame(
                np.full((48, 64), gray_level(index), np.uint8), pix_fmt="yuv420p", is_full_range=False
            )
            picture.pts, picture.time_base = round((picture_begins + index / 10) * 1000), Fraction(1, 1000)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        channels = audio.layout.nb_channels
        packed = np.repeat(sound, channels)[None] if channels > 1 else sound[None]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format="flt", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(sound_begins * rate)
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path


def make_audio(path: Path, *, seconds: float = 0.5, codec: str = "aac") -> Path:
    """Sound without pictures."""
    with av.open(str(path), "w") as container:
        _encode_silence(container, container.add_stream(codec, rate=48_000, layout="mono"), seconds=seconds)
    return path


def _encode_silence(container: Any, stream: Any, *, seconds: float) -> None:
    for position in range(0, round(48_000 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, position, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _add_cover_art(container: Any) -> Any:
    cover = container.add_stream("mjpeg", rate=1)
    cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
    cover.disposition = Disposition.attached_pic
    return cover


def _color_range(*, is_full_range: bool) -> int:
    return int(ColorRange.JPEG if is_full_range else ColorRange.MPEG)


def video_frame(picture: Pixels, *, pix_fmt: str = "yuv420p", is_full_range: bool = False) -> av.VideoFrame:
    """A picture (H×W gray or H×W×3 RGB, full range) as a frame in any pixel format the suite uses."""
    height, width = picture.shape[:2]
    if picture.ndim == 3:
        rgb = av.VideoFrame.from_ndarray(picture, format="rgb24")
        # What players take unsaid YUV colours for: BT.709 from 720 lines on, else BT.601.
        colorspace = Colorspace.ITU709 if height >= 720 else Colorspace.ITU601
        color_range = _color_range(is_full_range=is_full_range)
        if av.VideoFormat(pix_fmt).is_rgb:
            return rgb.reformat(format=pix_fmt)
        return rgb.reformat(format=pix_fmt, dst_colorspace=colorspace, dst_color_range=color_range)
    frame = av.VideoFrame(width, height, pix_fmt)
    video_format = frame.format
    if pix_fmt in ("yuyv422", "uyvy422"):
        pair = np.full((height, width, 2), 128, np.uint8)
        pair[:, :, 0 if pix_fmt == "yuyv422" else 1] = _stored(picture, bits=8, is_full_range=is_full_range)
        _fill(frame, 0, pair.reshape(height, -1))
    elif pix_fmt in ("rgb24", "bgr24", "rgba", "bgra", "bgr0"):
        samples = np.repeat(picture[:, :, None], 3 if pix_fmt.endswith("24") else 4, axis=2)
        samples[:, :, 3:] = 255
        _fill(frame, 0, samples.reshape(height, -1))
    else:  # planar: gray, YUV and GBR
        is_full_range = is_full_range or video_format.is_rgb or pix_fmt.startswith("yuvj")
        bits = video_format.components[0].bits
        dtype = np.dtype(np.uint8 if bits == 8 else ">u2" if video_format.is_big_endian else "<u2")
        luma = _stored(picture, bits=bits, is_full_range=is_full_range).astype(dtype)
        for index, plane in enumerate(frame.planes):
            if index == 0 or video_format.is_rgb:
                _fill(frame, index, luma)
            else:
                num_samples = plane.width * (2 if pix_fmt.startswith("nv") else 1)
                middle = 255 if pix_fmt.startswith("yuva") and index == 3 else 1 << (bits - 1)
                _fill(frame, index, np.full((plane.height, num_samples), middle, dtype))
    return frame


def _stored(picture: Pixels, *, bits: int, is_full_range: bool) -> npt.NDArray[np.uint16]:
    level = picture.astype(np.float64)
    scale = 1 << (bits - 8)
    stored = level * ((1 << bits) - 1) / 255 if is_full_range else (16 + level * 219 / 255) * scale
    return np.rint(stored).astype(np.uint16)


def _fill(frame: av.VideoFrame, plane_index: int, rows: npt.NDArray[Any]) -> None:
    plane = frame.planes[plane_index]
    content = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    buffer = np.zeros((plane.buffer_size // plane.line_size, plane.line_size), np.uint8)
    buffer[: content.shape[0], : content.shape[1]] = content[: buffer.shape[0]]
    plane.update(buffer.tobytes())


def cut_file(path: Path, target: Path, *, keep_ratio: float = 0.55) -> Path:
    """The first part of a file. With `faststart` the index survives; without it, moov is lost."""
    content = path.read_bytes()
    target.write_bytes(content[: int(len(content) * keep_ratio)])
    return target


def corrupt_packets(
    path: Path, target: Path, indexes: Sequence[int], *, kind: Literal["video", "audio"] = "video"
) -> Path:
    """A copy in which the coded data of these packets of the video or the sound is overwritten with noise."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(**{kind: 0}) if packet.size]
    noise = np.random.default_rng(3).integers(0, 256, 1 << 16, dtype=np.uint8).tobytes()
    for index in indexes:
        position, size = packets[index]
        assert position is not None
        content[position : position + size] = noise[:size]
    target.write_bytes(content)
    return target


class _MediaHandler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; `/status/CODE` answers so, `/hang` never, `/break/FILE` breaks off after half of the file.

    `/nolength/FILE` does not say how long the file is, and ends the connection where it ends. `/reset/FILE` and
    `/chunked/reset/FILE` do not say it either, and reset the connection (RST) after half of the file.
    """

    hang_seconds: ClassVar[float] = 30.0

    def do_GET(self) -> None:
        if self.path.startswith("/status/"):
            self.send_error(int(self.path.removeprefix("/status/").partition("?")[0]))
        elif self.path.startswith("/hang"):
            self.server.stopping.wait(self.hang_seconds)  # type: ignore[attr-defined]
        elif self.path.startswith("/break/"):
            content = Path(self.translate_path(self.path.removeprefix("/break"))).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
        elif self.path.startswith("/nolength/"):
            content = Path(self.translate_path(self.path.removeprefix("/nolength"))).read_bytes()
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content)
        elif "/reset/" in self.path:
            self._send_half_and_reset(is_chunked=self.path.startswith("/chunked"))
        else:
            with contextlib.suppress(ConnectionError):  # a reader may leave in the middle
                super().do_GET()

    def _send_half_and_reset(self, *, is_chunked: bool) -> None:
        content = Path(self.translate_path(self.path.rpartition("/reset")[2])).read_bytes()
        half = content[: len(content) // 2]
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
            half = b"%x\r\n%b\r\n" % (len(half), half)
        self.end_headers()
        self.wfile.write(half)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class _MediaServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", 0), lambda *args: _MediaHandler(*args, directory=str(folder)))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet."""


@contextlib.contextmanager
def http_server(folder: Path) -> Iterator[str]:
    """Serves a folder on the loopback address; yields the base URL."""
    with _MediaServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


_SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
_RTSP_ANSWERS = {
    "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n\r\n{_SDP}",
    "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
}


@contextlib.contextmanager
def rtsp_responder(status: str | None, *, dies_at: str | None = None) -> Iterator[str]:
    """Answers each RTSP request with `status` ("401 Unauthorized"), or never where None; yields `host:port`.

    `dies_at` is the method ("PLAY") at which it hangs up without an answer, and so does not come back.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := connection.recv(65536):
                if status is None:
                    continue
                method = request.decode().split()[0]
                if method == dies_at:
                    listener.close()
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                sequence = next((line for line in request.decode().splitlines() if line.startswith("CSeq")), "CSeq: 1")
                challenge = 'WWW-Authenticate: Basic realm="camera"\r\n' if status.startswith("401") else ""
                rest = _RTSP_ANSWERS.get(method, "\r\n") if status.startswith("200") else f"{challenge}\r\n"
                connection.sendall(f"RTSP/1.0 {status}\r\n{sequence}\r\n{rest}".encode())

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for part in (listener, *connections):
            with contextlib.suppress(OSError):
                part.shutdown(socket.SHUT_RDWR)
            part.close()
        thread.join(timeout=5)


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float = 5.0) -> bool:
    """Polls for what another thread does; False after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def mp4_box(kind: bytes, payload: bytes = b"") -> bytes:
    """One box of an mp4 file."""
    return struct.pack(">I", 8 + len(payload)) + kind + payload
