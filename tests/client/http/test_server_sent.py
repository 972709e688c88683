"""Events of a stream over HTTP: in whatever pieces they arrive, over whatever connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.client import ApiError, AsyncServiceClient, EmotionEvent, ServiceClient
from emostream.errors import EventRejectedError, ServiceUnavailableError
from emostream.wire.events import json_from_event
from tests.publish.samples import events_of

EVENTS = events_of("door", range(3))
END = "event: end\ndata: {}\n\n"
TEXT = ": emostream\n\n" + "".join(
    f"id: 1-{event.frame_index}\r\nevent: emotion\r\ndata: {json_from_event(event)}\r\n\r\n: waiting\n\n"
    for event in EVENTS
)


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class Answers(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A network that answers each request with the next answer, and keeps the requests.

    Args:
        answers: status, headers, body in pieces.
    """

    def __init__(self, *answers: tuple[int, dict[str, str], list[bytes]]) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = iter(answers)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status, headers, body = next(self._answers)
        return httpx.Response(status, headers=headers, stream=Pieces(body))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def events(*pieces: str | bytes) -> tuple[int, dict[str, str], list[bytes]]:
    content = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    return 200, {"Content-Type": "text/event-stream; charset=utf-8"}, content


def problem(status: int, **headers: str) -> tuple[int, dict[str, str], list[bytes]]:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, [b'{"detail": "no"}']


def read_plain(transport: Answers, **options: Any) -> list[EmotionEvent]:
    with ServiceClient("http://service", transport=transport) as client:
        return list(client.events("door", **options))


def read_async(transport: Answers, **options: Any) -> list[EmotionEvent]:
    async def read() -> list[EmotionEvent]:
        client = AsyncServiceClient("http://service", transport=transport)
        async with client, aclosing(client.events("door", **options)) as found:
            return [event async for event in found]

    return asyncio.run(read())


both = pytest.mark.parametrize("read", [read_plain, read_async])


@both
@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=20))
def test_whatever_the_pieces(read: Any, cuts: list[int]) -> None:
    content = TEXT.encode()
    edges = [0, *sorted(cuts), len(content)]
    assert read(Answers(events(*(content[one:other] for one, other in pairwise(edges)), END))) == EVENTS


@both
def test_other_events_are_left_out_and_broken_ones_refused(read: Any) -> None:
    assert read(Answers(events("event: news\ndata: {}\n\nevent: emotion\n\ndata: {}\n\n\n\n", END))) == []
    with pytest.raises(EventRejectedError):
        read(Answers(events("event: emotion\ndata: {}\n\n")))


@both
def test_line_ends_of_other_alphabets_are_text(read: Any) -> None:
    content = json.loads(json_from_event(EVENTS[0]))
    content["model_name"] = "a\u2028b\x85c\x0bd"
    text = json.dumps(content, ensure_ascii=False).replace("\x0b", "\\u000b")
    (event,) = read(Answers(events(f"id: 1-0\nevent: emotion\ndata: {text}\n\n", END)))
    assert event.model_name == content["model_name"]


@both
def test_a_lost_connection_is_opened_again_after_the_last_whole_event(read: Any) -> None:
    second = TEXT.index("id: 1-1")
    network = Answers(events(TEXT[: second + 30]), problem(503), problem(502), events(TEXT[second:], END))
    assert read(network) == EVENTS
    assert [request.headers.get("Last-Event-ID") for request in network.requests] == [None, "1-0", "1-0", "1-0"]


@both
def test_the_service_may_ask_for_patience(read: Any) -> None:
    with pytest.raises(ApiError) as caught:
        read(Answers(problem(429, Retry_After="60")), max_retry_seconds=1)
    assert (caught.value.status, caught.value.retry_after_seconds) == (429, 60)
    assert read(Answers(problem(429, Retry_After="0"), events(END)), max_retry_seconds=1) == []


@both
@pytest.mark.parametrize("status", [301, 401, 404, 422, 500])
def test_a_refusal_is_not_repeated(read: Any, status: int) -> None:
    network = Answers(problem(status, Location="http://elsewhere/"))
    with pytest.raises(ApiError) as caught:
        read(network)
    assert (caught.value.status, len(network.requests)) == (status, 1)


@both
def test_a_page_of_something_else_is_not_taken_for_the_service(read: Any) -> None:
    page = (200, {"Content-Type": "text/html"}, [b"<p>log in"])
    with pytest.raises(ServiceUnavailableError):
        read(Answers(*50 * [page]), max_retry_seconds=0.2)
