"""A camera that sends JPEGs over HTTP for as long as one listens, as many webcams do."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import cv2

from tests.media import textured_picture

_FPS = 25


class _Camera(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        stopping: threading.Event = self.server.stopping  # type: ignore[attr-defined]
        number = 0
        pictures: list[bytes] = self.server.pictures  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            while not stopping.wait(1 / _FPS):
                jpeg = pictures[number % len(pictures)]
                head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                number += 1

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def textured_jpegs() -> list[bytes]:
    """A moving picture without faces."""
    pictures = (textured_picture(number, width=320, height=180) for number in range(100))
    return [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]


def jpegs_of(clip: Path) -> list[bytes]:
    """The frames of a clip."""
    with av.open(str(clip)) as container:
        return [
            cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"))[1].tobytes() for frame in container.decode(video=0)
        ]


@contextlib.contextmanager
def mjpeg_server(port: int = 0, *, pictures: list[bytes] | None = None) -> Iterator[str]:
    """Its URL; it shows the pictures over and over."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), _Camera) as server:
        server.daemon_threads = True
        server.stopping = threading.Event()  # type: ignore[attr-defined]
        server.pictures = pictures or textured_jpegs()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/video"
        finally:
            server.stopping.set()  # type: ignore[attr-defined]
            server.shutdown()
