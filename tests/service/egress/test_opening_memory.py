"""A server that sends a playlist without an end does not take the memory of all streams of a worker."""

from __future__ import annotations

import contextlib
import ctypes
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceUnavailableError
from emostream.service.egress.checked_source import CheckedSource, SourceRules
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import Egress
from emostream.telemetry.process import resident_memory_bytes
from tests.media import http_server, make_clip
from tests.publish.redis.test_servers import make_certificate
from tests.service.worker.test_stream_factory import settings_of

pytestmark = pytest.mark.integration

MB = 1 << 20
MAX_GROWTH_BYTES = 60 * MB
SEGMENTS = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n", b"#EXTINF:1,\na\n" * 10_000


@contextlib.contextmanager
def endless(first: bytes, repeated: bytes, *, certificate: Path | None = None) -> Iterator[str]:
    """The address of a server whose answers begin and go on like this."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(first)
                while True:
                    self.wfile.write(repeated)

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}/live.m3u8"
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def _free_memory_is_given_back() -> None:
    """Else what an earlier test took and freed would be used again, and the process would not grow."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def rules() -> Iterator[SourceRules]:
    settings = settings_of(open_timeout_seconds=60, read_timeout_seconds=60)
    policy = SourcePolicy(settings.service)
    with Egress(policy, max_growth_bytes=MAX_GROWTH_BYTES) as egress:
        yield SourceRules(settings.decode, policy, egress)


def source(rules: SourceRules, url: str) -> CheckedSource:
    return CheckedSource(StreamSpec("x", url, StreamKind.FILE), rules=rules)


class Peak:
    """The most memory that this process had while the context was open, beyond what it had before."""

    def __enter__(self) -> Peak:
        self._before = self._most = resident_memory_bytes()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.01):
            self._most = max(self._most, resident_memory_bytes())

    @property
    def num_bytes(self) -> int:
        return self._most - self._before


@pytest.mark.parametrize("kind", ["http", "https"])
def test_a_playlist_without_end_is_cut_off(rules: SourceRules, tmp_path: Path, kind: str) -> None:
    if kind == "https":
        make_certificate(tmp_path)
    certificate = tmp_path if kind == "https" else None
    with (
        endless(*SEGMENTS, certificate=certificate) as url,
        Peak() as peak,
        pytest.raises(SourceUnavailableError, match="too much memory"),
        source(rules, url),
    ):
        pass
    assert peak.num_bytes < MAX_GROWTH_BYTES + 500 * MB


def test_others_that_run_are_not_touched(rules: SourceRules, tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.ts", num_frames=500, width=320, height=240)
    with http_server(tmp_path) as base, source(rules, f"{base}/clip.ts") as running:
        frames = iter(running)
        next(frames)
        with endless(*SEGMENTS) as url, pytest.raises(SourceUnavailableError), source(rules, url):
            pass
        assert len(list(frames)) == 499
    with http_server(tmp_path) as base, source(rules, f"{base}/clip.ts") as later:
        assert len(list(later)) == 500


def test_a_playlist_of_a_hundred_thousand_segments_is_opened(rules: SourceRules, tmp_path: Path) -> None:
    make_clip(tmp_path / "a.ts", num_frames=5)
    lines = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + "#EXTINF:1,\na.ts\n" * 100_000 + "#EXT-X-ENDLIST\n"
    (tmp_path / "long.m3u8").write_text(lines)
    with http_server(tmp_path) as base, source(rules, f"{base}/long.m3u8") as opened:
        assert next(iter(opened)).frame_index == 0
