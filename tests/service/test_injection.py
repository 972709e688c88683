"""Attacks on the way out, with FFmpeg and real connections: no line of an attacker's reaches a server that he names."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator

import av
import pytest

from emostream.config import ServiceSettings
from emostream.decode.location import parse_location
from emostream.errors import SourceError, SourceRejectedError
from emostream.service.egress.fetch import fetch
from emostream.service.egress.policy import SourcePolicy
from tests.service.worker.test_stream_factory import LOOPBACK, AnywherePolicy, Sources, settings_of

pytestmark = pytest.mark.integration

FORGED = "a%22%0d%0aSET%20pwned%201%0d%0aPLAY%20b:c"
CHALLENGE = 'RTSP/1.0 401 Unauthorized\r\nCSeq: {seq}\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n'


class Trap:
    """Takes connections and keeps what is sent on them; asks for a digest login each time, as a Redis would not."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.received.append(b"")
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(1)
                    while data := connection.recv(65536):
                        self.received[-1] += data
                        seq = data.partition(b"CSeq: ")[2].partition(b"\r\n")[0].decode()
                        connection.sendall(CHALLENGE.format(seq=seq).encode())

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


@contextlib.contextmanager
def redirecting_server(location: str) -> Iterator[tuple[str, list[bytes]]]:
    """An RTSP server that wants a digest login, and redirects who has one: host and port, and what it was sent."""
    requests: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    while request := connection.recv(65536):
                        requests.append(request)
                        seq = request.partition(b"CSeq: ")[2].partition(b"\r\n")[0].decode()
                        answer = CHALLENGE.format(seq=seq)
                        if b"Digest" in request:
                            answer = f"RTSP/1.0 302 Moved\r\nCSeq: {seq}\r\nLocation: {location}\r\n\r\n"
                        connection.sendall(answer.encode())

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}", requests


def test_a_forged_login_reaches_nobody(trap: Trap) -> None:
    with (
        redirecting_server(f"rtsp://127.0.0.1:{trap.port}/x") as (place, requests),
        Sources(settings_of(networks=()), policy=AnywherePolicy(ServiceSettings())) as sources,
        pytest.raises(SourceRejectedError),
    ):
        sources.num_frames(f"rtsp://{FORGED}@{place}/x")
    assert (requests, trap.received) == ([], [])


@pytest.mark.parametrize("is_inside", [False, True])
@pytest.mark.parametrize("login", ["", f"{FORGED}@", "a%22%0d%0aSET%20pwned%201%0d%0a:c@"])
def test_a_redirect_after_the_login_is_not_followed(trap: Trap, login: str, is_inside: bool) -> None:
    policy = None if is_inside else AnywherePolicy(ServiceSettings())
    with (
        redirecting_server(f"rtsp://{login}127.0.0.1:{trap.port}/x") as (place, requests),
        Sources(settings_of(networks=LOOPBACK if is_inside else ()), policy=policy) as sources,
        pytest.raises(SourceError, match="its server redirects, which is not followed"),
    ):
        sources.num_frames(f"rtsp://admin:pa%2Fss@{place}/x")
    assert any(b'username="admin"' in request for request in requests), "the login never came to the redirect"
    assert trap.received == []


def test_the_guard_alone_stops_a_forged_play(trap: Trap) -> None:
    """FFmpeg with the attacker's URL, past every check of addresses."""
    policy = AnywherePolicy(ServiceSettings())
    with (
        redirecting_server(f"rtsp://127.0.0.1:{trap.port}/x") as (place, requests),
        Sources(settings_of(networks=()), policy=policy) as sources,
    ):
        host, _, port = place.partition(":")
        relay = sources.egress.relay(host, int(port), is_tls=False, is_rtsp=True)
        with pytest.raises(av.error.FFmpegError):
            av.open(f"rtsp://{FORGED}@127.0.0.1:{relay}/x", options={"rtsp_transport": "tcp"}, timeout=5)
        assert "RTSP" in sources.egress.why_closed(relay)
    assert requests, "nobody came"
    assert not any(b"pwned" in request for request in requests)
    assert trap.received == []


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "tcp", "sftp", "s3"])
def test_no_scheme_takes_a_forged_login(scheme: str, trap: Trap) -> None:
    url = f"{scheme}://{FORGED}@127.0.0.1:{trap.port}/x"
    settings = settings_of()
    with pytest.raises(SourceRejectedError):
        parse_location(url, settings=settings.decode)
    with pytest.raises(SourceRejectedError):
        SourcePolicy(settings.service).check(url)
    with pytest.raises(SourceRejectedError):
        SourcePolicy(settings.service).check_folder(url)
    with pytest.raises(SourceRejectedError):
        fetch(url, policy=SourcePolicy(settings.service), max_bytes=10, timeout_seconds=1.0)
    assert trap.received == []


def test_a_redirect_of_http_puts_no_lines_into_a_request(trap: Trap) -> None:
    """FFmpeg writes the login of where it is led to as it decodes it."""

    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "Authorization" not in self.headers:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Digest realm="r", nonce="n"')
            else:
                self.send_response(302)
                self.send_header("Location", f"http://{FORGED}@127.0.0.1:{trap.port}/x")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server, Sources(settings_of()) as sources:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(SourceError):
            sources.num_frames(f"http://admin:pw@127.0.0.1:{server.server_port}/x")
        server.shutdown()
    assert not any(b"pwned" in received for received in trap.received)
