"""An answer goes no further ahead of its reader than the window."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emostream.service.api.answer_window import PROGRESS, WINDOW_HEADER, AnswerWindow
from tests.service.asgi import Exchange, part, scope_of

GONE: Message = {"type": "http.disconnect"}


class Endless:
    """Answers without end; counts what it made and whether it was stopped."""

    def __init__(self, part_bytes: int = 10) -> None:
        self.part_bytes = part_bytes
        self.num_made = 0
        self.was_stopped = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(self._parts())(scope, receive, send)

    async def _parts(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.num_made += 1
                yield b"x" * self.part_bytes
                await asyncio.sleep(0)
        finally:
            self.was_stopped = True


def asked(window: int = 100) -> dict[str, object]:
    return scope_of("GET", headers=[(WINDOW_HEADER, str(window).encode())])


async def settled() -> None:
    """Everything that can go on without news has done so."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_the_answer_waits_for_its_reader_and_ends_when_that_goes_away() -> None:
    app, exchange = Endless(), Exchange()
    running = asyncio.create_task(exchange.with_app(AnswerWindow(app), asked()))
    await settled()
    assert len(exchange.body) == 100
    assert app.num_made == 11  # one is made and waits
    exchange.given.put_nowait({"type": PROGRESS, "num_bytes": 35})
    await settled()
    assert len(exchange.body) == 140
    exchange.given.put_nowait(GONE)
    async with asyncio.timeout(30):
        await running
    assert app.was_stopped
    assert len(exchange.body) == 140
    assert exchange.answered[-1].get("more_body", False), "nobody is there to be told that it is over"


async def test_a_reader_that_stands_still_is_cut_off() -> None:
    app, exchange = Endless(), Exchange()
    async with asyncio.timeout(30):
        await exchange.with_app(AnswerWindow(app, max_seconds=0.1), asked())
    assert app.was_stopped
    assert len(exchange.body) == 100
    assert exchange.answered[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_server_that_reports_no_progress_gets_a_bounded_answer_where_configured() -> None:
    app, exchange = Endless(), Exchange()
    async with asyncio.timeout(30):
        await exchange.with_app(AnswerWindow(app, max_untold_bytes=200), scope_of("GET"))
    assert app.was_stopped
    assert len(exchange.body) == 200
    assert exchange.answered[-1]["more_body"] is False
    assert WINDOW_HEADER not in exchange.headers


async def test_a_server_that_holds_back_by_itself_is_trusted() -> None:
    app, exchange = Endless(), Exchange()
    running = asyncio.create_task(exchange.with_app(AnswerWindow(app), scope_of("GET")))
    while len(exchange.body) < 10_000:
        await asyncio.sleep(0)
    exchange.given.put_nowait(GONE)
    async with asyncio.timeout(30):
        await running
    assert WINDOW_HEADER not in exchange.headers


async def test_the_body_of_the_request_reaches_the_application() -> None:
    bodies: list[bytes] = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            bodies.append(message["body"])

    exchange = Exchange(part(b"one"), {"type": PROGRESS, "num_bytes": 1}, part(b"two", is_last=True), GONE)
    async with asyncio.timeout(30):
        await exchange.with_app(AnswerWindow(reading), asked())
    assert bodies == [b"one", b"two"]


@given(
    part_bytes=st.integers(1, 400),
    window=st.integers(1, 300),
    steps=st.lists(st.floats(0, 1), max_size=12),
)
async def test_no_more_is_on_the_way_than_the_window_and_one_part(
    part_bytes: int, window: int, steps: list[float]
) -> None:
    exchange = Exchange()
    app: ASGIApp = AnswerWindow(Endless(part_bytes))
    running = asyncio.create_task(exchange.with_app(app, asked(window)))
    num_taken = 0
    for share in steps:
        await settled()
        on_the_way = len(exchange.body) - num_taken
        assert window <= on_the_way < window + part_bytes
        taken = round(share * on_the_way)
        exchange.given.put_nowait({"type": PROGRESS, "num_bytes": taken})
        num_taken += taken
    exchange.given.put_nowait(GONE)
    async with asyncio.timeout(30):
        await running
