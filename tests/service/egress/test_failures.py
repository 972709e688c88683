"""What a source says when its connection fails: the reason of the egress, never "the server answered with an error"."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator, Sequence
from http import HTTPStatus

import httpx
import pytest

from emostream.config import DecodeSettings, ServiceSettings
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceError, SourceNotHereError, SourceTimeoutError, SourceUnavailableError
from emostream.service.egress.checked_source import CheckedSource, SourceRules
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import Egress

NAMES = {"camera.example": ["127.0.0.1"], "inside.example": ["10.0.0.1"]}
ERRORS = {"unknown.example": socket.EAI_NONAME, "slow-dns.example": socket.EAI_AGAIN}


def resolver(host: str) -> Sequence[str]:
    if host in ERRORS:
        raise socket.gaierror(ERRORS[host], "made by the test")
    return NAMES.get(host, [host])


@pytest.fixture(scope="module")
def rules() -> Iterator[SourceRules]:
    policy = SourcePolicy(ServiceSettings(allowed_networks=("127.0.0.0/8",)), resolver=resolver)
    settings = DecodeSettings(open_timeout_seconds=5.0, read_timeout_seconds=5.0)
    with Egress(policy, connect_seconds=0.5) as egress:
        yield SourceRules(settings, policy, egress)


@pytest.fixture(scope="module")
def refusing() -> Iterator[int]:
    """A port at which nothing listens: it is bound, and so is given to nobody else."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """A port whose queue is full, so that the system answers no further connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def server_that(status: HTTPStatus, location: str = "") -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def failure_of(url: str, rules: SourceRules, *, kind: StreamKind = StreamKind.LIVE) -> SourceError:
    with pytest.raises(SourceError) as caught, CheckedSource(StreamSpec("x", url, kind), rules=rules) as source:
        list(source)
    return caught.value


@pytest.mark.parametrize("kind", list(StreamKind))
@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "rtsps", "rtmps"])
def test_a_refused_connection(scheme: str, kind: StreamKind, refusing: int, rules: SourceRules) -> None:
    failure = failure_of(f"{scheme}://user:secret@camera.example:{refusing}/x", rules, kind=kind)
    assert type(failure) is SourceUnavailableError
    assert str(failure).startswith(f"{scheme}://***@camera.example:{refusing}/x: connection refused")


@pytest.mark.skipif("sys.platform != 'linux'", reason="other systems refuse connections of a full queue")
@pytest.mark.parametrize("scheme", ["http", "https", "rtsp"])
def test_a_host_that_does_not_respond(scheme: str, silent: int, rules: SourceRules) -> None:
    failure = failure_of(f"{scheme}://camera.example:{silent}/x", rules)
    assert type(failure) is SourceTimeoutError
    assert "no response in time" in str(failure)


@pytest.mark.parametrize(
    ("target", "expected", "text"),
    [
        ("http://camera.example:{refusing}/x", SourceUnavailableError, "camera.example:{refusing}: connection refused"),
        ("https://camera.example:{refusing}/", SourceUnavailableError, "camera.example:{refusing}: connection refused"),
        ("http://unknown.example/x", SourceNotHereError, "unknown.example: unknown host"),
        ("http://slow-dns.example/x", SourceUnavailableError, "slow-dns.example: the host name cannot be resolved now"),
        ("https://slow-dns.example/x", SourceUnavailableError, "slow-dns.example: the host name cannot be resolved"),
        ("http://inside.example/x", SourceNotHereError, "inside.example: the host has no public address"),
        ("https://inside.example/x", SourceNotHereError, "inside.example: the host has no public address"),
        ("http://10.0.0.1/x", SourceNotHereError, "10.0.0.1: the host has no public address"),
    ],
)
def test_where_a_redirect_leads(
    target: str, expected: type[SourceError], text: str, refusing: int, rules: SourceRules
) -> None:
    with server_that(HTTPStatus.FOUND, target.format(refusing=refusing)) as port:
        failure = failure_of(f"http://camera.example:{port}/x", rules)
    assert type(failure) is expected
    assert text.format(refusing=refusing) in str(failure)
    assert str(failure).startswith(f"http://camera.example:{port}/x: ")


@pytest.mark.parametrize(
    ("status", "text"),
    [(HTTPStatus.BAD_GATEWAY, "the server answered with an error"), (HTTPStatus.FORBIDDEN, "access forbidden (403)")],
)
def test_what_the_server_itself_answers(status: HTTPStatus, text: str, rules: SourceRules) -> None:
    with server_that(status) as port:
        assert text in str(failure_of(f"http://camera.example:{port}/x", rules))


def test_sources_do_not_learn_failures_of_others(refusing: int, rules: SourceRules) -> None:
    with server_that(HTTPStatus.BAD_GATEWAY) as port:
        for _ in range(2):
            assert "refused" in str(failure_of(f"http://camera.example:{refusing}/x", rules))
            assert "refused" not in str(failure_of(f"http://camera.example:{port}/x", rules))


def test_a_failure_is_forgotten_with_the_next_connection(rules: SourceRules) -> None:
    """One source, whose server is away at first."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        way = rules.egress.proxy()
        assert _status_through(way.proxy_url, port) == HTTPStatus.BAD_GATEWAY
        assert isinstance(rules.egress.failure_of(way), SourceUnavailableError)
    with server_that(HTTPStatus.NO_CONTENT) as port:
        assert _status_through(way.proxy_url, port) == HTTPStatus.NO_CONTENT
        assert rules.egress.failure_of(way) is None


def _status_through(proxy_url: str, port: int) -> int:
    with httpx.Client(proxy=proxy_url) as client:
        return client.get(f"http://127.0.0.1:{port}/").status_code


def test_the_secret_is_not_shown(rules: SourceRules) -> None:
    way = rules.egress.proxy()
    secret = way.proxy_url.split("@")[0].rpartition(":")[2]
    assert secret
    assert secret not in repr(way)
