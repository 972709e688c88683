"""Attacks on the way out, with FFmpeg and real connections: no line of an attacker's reaches a server that he names."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator

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


def test_a_forged_login_reaches_no_other_host(trap: Trap) -> None:
    with (
        redirecting_server(f"rtsp://127.0.0.1:{trap.port}/x") as (place, requests),
        Sources(settings_of(networks=()), policy=AnywherePolicy(ServiceSettings())) as sources,
        pytest.raises(SourceRejectedError),
    ):
        sources.num_frames(f"rtsp://{FORGED}@{place}/x")
    assert (requests, trap.received) == ([], [])


@pytest.mark.parametrize("way", ["outside", "inside", "udp"])
@pytest.mark.parametrize("login", ["", f"{FORGED}@", "a%22%0d%0aSET%20pwned%201%0d%0a:c@"])
def test_a_redirect_after_the_login_is_not_followed(trap: Trap, login: str, way: str) -> None:
    """Cameras in the operator's networks are not trusted with it either, whatever brings their media."""
    policy = AnywherePolicy(ServiceSettings()) if way == "outside" else None
    settings = settings_of(
        networks=() if way == "outside" else LOOPBACK, rtsp_transport="udp" if way == "udp" else "tcp"
    )
    with (
        redirecting_server(f"rtsp://{login}127.0.0.1:{trap.port}/x") as (place, requests),
        Sources(settings, policy=policy) as sources,
        pytest.raises(SourceError),
    ):
        sources.num_frames(f"rtsp://admin:pa%2Fss@{place}/x")
    assert any(b'username="admin"' in request for request in requests), "the login never came to the redirect"
    assert trap.received == []


def hiding_server(hidden: bytes) -> contextlib.AbstractContextManager[tuple[str, list[bytes]]]:
    """An RTSP server whose first answer has a header that FFmpeg takes for the head of a frame, so that it reads on
    inside a true frame, where `hidden` stands."""
    rest_of_head = b": x\r\n\r\n"
    skipped = int.from_bytes(b"!!", "big") - len(rest_of_head)  # of `$a!!`
    frame = b"x" * (skipped - 4) + hidden

    def answer(request: bytes) -> bytes:
        head = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n$a!!" + rest_of_head
        return head + b"$\x00" + len(frame).to_bytes(2, "big") + frame if request.startswith(b"OPTIONS") else b""

    return answering_server(answer)


@contextlib.contextmanager
def answering_server(answer: Callable[[bytes], bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers each request by a function: host and port, and what it was sent."""
    requests: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    while request := connection.recv(65536):
                        requests.append(request)
                        connection.sendall(answer(request))

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}", requests


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_redirect_hidden_in_a_frame_is_not_read(trap: Trap, transport: str) -> None:
    location = b"rtsp://127.0.0.1:%d/x" % trap.port
    hidden = b"CSeq: 1\r\nPublic: OPTIONS\r\n\r\nRTSP/1.0 302 Found\r\nCSeq: 2\r\nLocation: " + location + b"\r\n\r\n"
    with (
        hiding_server(hidden) as (place, requests),
        Sources(settings_of(rtsp_transport=transport)) as sources,
        pytest.raises(SourceError),
    ):
        sources.num_frames(f"rtsp://{place}/x")
    assert requests
    assert trap.received == []


_SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


def test_media_over_udp_are_sent_to_the_server_alone() -> None:
    """FFmpeg sends packets to the address that the answer to SETUP names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        other.settimeout(0.2)
        port = other.getsockname()[1]

        def answer(request: bytes) -> bytes:
            seq = request.partition(b"CSeq: ")[2].partition(b"\r\n")[0]
            head = b"RTSP/1.0 200 OK\r\nCSeq: " + seq + b"\r\n"
            if request.startswith(b"DESCRIBE"):
                head += b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s" % (len(_SDP), _SDP)
                return head
            if request.startswith(b"SETUP"):
                client_port = request.partition(b"client_port=")[2].split()[0]
                head += b"Session: 1\r\nTransport: RTP/AVP/UDP;unicast;client_port=%s;" % client_port
                head += b"server_port=%d-%d;source=127.0.0.2\r\n" % (port, port)
            return head + b"\r\n"

        with (
            answering_server(answer) as (place, requests),
            Sources(settings_of(rtsp_transport="udp")) as sources,
            pytest.raises(SourceError),
        ):
            sources.num_frames(f"rtsp://{place}/x")
        assert any(request.startswith(b"PLAY") for request in requests)
        with pytest.raises(TimeoutError):
            other.recv(100)


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
            av.open(f"rtsp://{FORGED}@127.0.0.1:{relay.port}/x", options={"rtsp_transport": "tcp"}, timeout=5)
        assert "RTSP" in str(sources.egress.failure_of(relay))
    assert requests, "nobody came"
    assert not any(b"pwned" in request for request in requests)
    assert trap.received == []


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "tcp", "sftp", "s3"])
@pytest.mark.parametrize(
    "login",
    [
        FORGED,
        "a%0a:b",
        "a:b%0d",
        "a%250aSET:b",  # encoded twice
        "a%25250d%25250aSET:b",
        "a%00:b",
        "a%c2%85b:c",  # the other line ends of Unicode
        "a%e2%80%a8b:c",
        "a%c0%8ab:c",  # a line end in too many bytes
        "a%7f:b",
        "%1b[2J:b",
        "a\r\nSET:b",
        ":%0a",
    ],
)
def test_no_scheme_takes_a_forged_login(scheme: str, login: str, trap: Trap) -> None:
    url = f"{scheme}://{login}@127.0.0.1:{trap.port}/x"
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
