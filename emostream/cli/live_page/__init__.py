"""`emostream analyze --show`: a page of this machine with live pictures and who shows what."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
import webbrowser
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from emostream.analysis.run import Tell
from emostream.cli.live_table import Reading, expected_frames
from emostream.config import Settings
from emostream.decode.source import FrameSource
from emostream.domain.event import EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamSpec
from emostream.pipeline.pipeline import EventObserver
from emostream.render.preview import preview_jpeg

_HOST: Final = "127.0.0.1"
_FILES: Final = {
    "/": ("live.html", "text/html; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
}
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PICTURES_PER_SECOND: Final = 12
_UNSEEN_PER_SECOND: Final = 1
"""Pictures that are made while no browser asks, so that there is one at once, also of a stream that is over."""
_SEEN_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.05  # a server has no other way to learn that it should stop
_FIRST_LOOK_SECONDS: Final = 5.0


class _Stream:
    """What the page shows of a stream. A worker thread fills it, threads of the server read it."""

    def __init__(self) -> None:
        self.reading = Reading(time.monotonic())
        self.is_over = False
        self._jpeg: bytes | None = None
        self._made_at = self._asked_at = float("-inf")

    def take(self, frame: Frame, event: EmotionEvent) -> None:
        """Take the next frame, and make a picture of it where one is due."""
        now = time.monotonic()
        self.reading.add(event, now=now)
        is_seen = now - self._asked_at < _SEEN_SECONDS
        if now - self._made_at >= 1 / (_PICTURES_PER_SECOND if is_seen else _UNSEEN_PER_SECOND):
            self._made_at = now
            self._jpeg = preview_jpeg(frame.rgb(), event, has_boxes=True)

    def picture(self) -> bytes | None:
        """The newest picture as JPEG; None before the first."""
        self._asked_at = time.monotonic()
        return self._jpeg

    def as_dict(self, stream_id: str) -> dict[str, Any]:
        """Its state, for JSON."""
        now, reading = time.monotonic(), self.reading
        faces = [] if reading.last is None else reading.last.faces
        return {
            "id": stream_id,
            "is_over": self.is_over,
            "num_frames": reading.num_frames,
            "total": reading.total,
            "num_dropped": reading.num_dropped,
            "fps": reading.fps(now=now),
            "latency_ms": reading.latency_ms(),
            "faces": [
                {"track_id": item.face.track_id, "dominant": item.dominant, "confidence": item.confidence}
                for item in faces
            ],
        }


class LivePage:
    """An observer of runs; a page shows all of them."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self.token = secrets.token_urlsafe(24)
        self.was_seen = threading.Event()

    @contextlib.contextmanager
    def observing(self, spec: StreamSpec, source: FrameSource, *, settings: Settings) -> Iterator[EventObserver]:
        """Around the run of a stream."""
        stream = self._streams[spec.stream_id] = _Stream()

        def observe(frame: Frame, event: EmotionEvent) -> None:
            if stream.reading.last is None:
                stream.reading.total = expected_frames(spec, source)
            stream.take(frame, event)

        try:
            yield observe
        finally:
            stream.is_over = True

    def picture(self, stream_id: str) -> bytes | None:
        """The newest picture of a stream as JPEG; None where there is none."""
        stream = self._streams.get(stream_id)
        return None if stream is None else stream.picture()

    def as_list(self) -> list[dict[str, Any]]:
        """The state of all streams that were started, for JSON."""
        return [stream.as_dict(stream_id) for stream_id, stream in dict(self._streams).items()]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a browser keeps connections open that it does not use

    def __init__(self, page: LivePage) -> None:
        super().__init__((_HOST, 0), _Handler)
        self.page = page


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "emostream"
    sys_version = ""
    timeout = 30.0

    def do_GET(self) -> None:
        """The page, the state of the streams, or the pictures of one."""
        path, query = (urlsplit(self.path).path, urlsplit(self.path).query)
        if self.headers.get("Host") != f"{_HOST}:{self.server.server_port}":
            # A name of another site that was made to lead here; its scripts could read what they are not to.
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif path in _FILES:
            name, media_type = _FILES[path]
            self._send((files(__name__) / name).read_bytes(), media_type)
        elif not secrets.compare_digest("".join(parse_qs(query).get("token", [])).encode(), self._token()):
            self.send_error(HTTPStatus.FORBIDDEN)
        elif path == "/streams":
            self.server.page.was_seen.set()
            self._send(json.dumps(self.server.page.as_list()).encode(), "application/json")
        elif (jpeg := self.server.page.picture(unquote(path.removeprefix("/pictures/")))) is not None:
            self._send(jpeg, "image/jpeg")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests carry the token."""

    def _token(self) -> bytes:
        return self.server.page.token.encode()

    def _send(self, content: bytes, media_type: str) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {"Content-Type": media_type, "Content-Length": str(len(content)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the browser went away
            self.wfile.write(content)


@contextlib.contextmanager
def live_page(*, tell: Tell, last_look_seconds: float = 1.5) -> Iterator[LivePage]:
    """Serve the page while the context is open, and open it in a browser where this machine has one.

    Only this machine reaches it, and only who has the token in its address sees people: it follows the `#`, which
    browsers keep to themselves. When the run is over, a page that is being opened still gets its last pictures.

    Args:
        tell: called with the address.
        last_look_seconds: how long a page that was seen is kept after the run; longer than it waits between two
            questions, so that it shows the end.
    """
    page = LivePage()
    server = _Server(page)
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="live page", daemon=True)
    thread.start()
    try:
        url = f"http://{_HOST}:{server.server_port}/#{page.token}"
        has_browser = _open_browser(url)
        tell(f"live pictures: {url}")
        yield page
        if page.was_seen.wait(_FIRST_LOOK_SECONDS if has_browser else 0):
            time.sleep(last_look_seconds)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _open_browser(url: str) -> bool:
    try:
        browser = webbrowser.get()
        # One in the terminal would take the place of what is printed there.
        has_window = isinstance(browser, webbrowser.BackgroundBrowser) or not isinstance(
            browser, webbrowser.GenericBrowser
        )
        return has_window and browser.open(url)
    except webbrowser.Error:
        return False
