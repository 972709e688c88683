"""Webhook: signed, in order, tried again, refused for ever where that is said."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.parser import Parser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.event import EmotionEvent
from emostream.errors import ConfigError, EventRejectedError, SinkUnavailableError
from emostream.publish.webhook_sink import WebhookSink, sign, verify_signature
from emostream.wire.events import event_from_json
from tests.publish.samples import STATUS, events_of

SECRET = "s3cret"


@dataclass(slots=True)
class Receiver:
    """What a small HTTP server was sent; answers with the codes it is given, then 204."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    num_requests: int = 0

    def events(self) -> list[EmotionEvent]:
        """The emotion events of all accepted posts."""
        return [
            event_from_json(line)
            for headers, body in self.posts
            if headers["X-Emostream-Kind"] == "emotion"
            for line in body.splitlines()
        ]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.num_requests += 1
            code = state.answers.pop(0) if state.answers else 204
            if code == 204:
                state.posts.append((dict(self.headers), body))
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/events"
        Thread(target=server.serve_forever, daemon=True).start()
        yield state
        server.shutdown()


async def test_every_post_is_signed(receiver: Receiver) -> None:
    sink = WebhookSink(receiver.url, secret=SECRET)
    await sink.publish(events_of("door", range(3)))
    await sink.publish_status(STATUS)
    for headers, body in receiver.posts:
        assert verify_signature(headers["X-Emostream-Signature"], body, secret=SECRET, now_seconds=time.time())
    assert [headers["X-Emostream-Kind"] for headers, _ in receiver.posts] == ["emotion", "status"]


async def test_a_login_in_the_url_is_sent_and_named_nowhere(receiver: Receiver) -> None:
    sink = WebhookSink(receiver.url.replace("//", "//us%20er:s%C3%A9cret@"), max_retry_seconds=0)
    await sink.publish(events_of("door", [0]))
    (headers, _) = receiver.posts[0]
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == "us er:sécret"
    assert "Authorization" not in await _posted_by(WebhookSink(receiver.url), receiver)
    receiver.answers = [403]
    with pytest.raises(EventRejectedError) as caught:
        await sink.publish(events_of("door", [1]))
    assert "cret" not in str(caught.value)


async def _posted_by(sink: WebhookSink, receiver: Receiver) -> dict[str, str]:
    await sink.publish(events_of("door", [0]))
    return receiver.posts[-1][0]


@pytest.mark.parametrize("answer", [b"not HTTP at all\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b""])
async def test_what_speaks_no_http_is_tried_again_and_said_plainly(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = Parser().parsestr((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[2].decode())
        await reader.readexactly(int(head["Content-Length"]))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SinkUnavailableError, match="webhook http://127"):
            await WebhookSink(f"http://127.0.0.1:{port}/x", max_retry_seconds=0).publish(events_of("door", [0]))


async def test_a_receiver_that_is_away_is_tried_again(receiver: Receiver) -> None:
    receiver.answers = [503, 429, 408]
    await WebhookSink(receiver.url, max_retry_seconds=10).publish(events_of("door", range(3)))
    assert [event.frame_index for event in receiver.events()] == [0, 1, 2]
    assert receiver.num_requests == 4


async def test_gives_up_after_the_given_time(receiver: Receiver) -> None:
    receiver.answers = [500] * 100
    with pytest.raises(SinkUnavailableError, match="500"):
        await WebhookSink(receiver.url, max_retry_seconds=0.1).publish(events_of("door", [0]))
    with pytest.raises(SinkUnavailableError):
        await WebhookSink("http://127.0.0.1:1/x", max_retry_seconds=0).publish(events_of("door", [0]))


@pytest.mark.parametrize("code", [400, 404, 302])
async def test_a_refusal_is_final(receiver: Receiver, code: int) -> None:
    receiver.answers = [code]
    with pytest.raises(EventRejectedError, match=str(code)):
        await WebhookSink(receiver.url).publish(events_of("door", [0]))
    assert receiver.num_requests == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "example.org",
        "https://",
        "file:///etc/passwd",
        "https://host:port/x",
        "https://host:99999/x",
        f"https://{70 * 'a'}.org/x",
        "https://host/a b",
        "https://host/é",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        WebhookSink(url)


@given(st.binary(max_size=100), st.integers(0, 2**33), st.integers(0, 10_000))
def test_a_signature_holds_for_this_body_secret_and_time(body: bytes, at: int, later: int) -> None:
    header = sign(body, secret=SECRET, at_seconds=at)
    assert verify_signature(header, body, secret=SECRET, now_seconds=at + later) == (later <= 300)
    assert not verify_signature(header, body + b"x", secret=SECRET, now_seconds=at)
    assert not verify_signature(header, body, secret="other", now_seconds=at)


@given(st.text(max_size=80))
def test_noise_is_no_signature(header: str) -> None:
    assert not verify_signature(header, b"{}", secret=SECRET, now_seconds=0)
