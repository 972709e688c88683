"""A camera that sends JPEGs over HTTP for as long as one listens, as many webcams do."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator

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
        with contextlib.suppress(OSError):
            while not stopping.wait(1 / _FPS):
                jpeg = cv2.imencode(".jpg", textured_picture(number, width=320, height=180))[1].tobytes()
                head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                number += 1

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def mjpeg_server(port: int = 0) -> Iterator[str]:
    """Its URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), _Camera) as server:
        server.daemon_threads = True
        server.stopping = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/video"
        finally:
            server.stopping.set()  # type: ignore[attr-defined]
            server.shutdown()
