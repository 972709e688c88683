"""Bodies are taken in before the application runs: from whom, how long, within which time."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emostream.config import TokenSettings
from emostream.service.api.limits import BodyLimit
from emostream.service.api.tokens import Tokens
from tests.service.asgi import Exchange, part, scope_of

TOKENS = (TokenSettings(name="one", sha256=hashlib.sha256(b"secret").hexdigest(), scopes=("read",)),)
LONG = (b"content-length", b"1000")
KNOWN, WRONG = (b"authorization", b"Bearer secret"), (b"authorization", b"Bearer other")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body of the request."""
    await Response(await Request(scope, receive).body())(scope, receive, send)


def limit(*, max_bytes: int = 4096, max_seconds: float = 60.0, tokens: tuple[TokenSettings, ...] = ()) -> BodyLimit:
    return BodyLimit(echo, max_bytes=max_bytes, max_seconds=max_seconds, tokens=Tokens(tokens))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
@pytest.mark.parametrize("headers", [[LONG], [LONG, WRONG], [(b"transfer-encoding", b"chunked")]])
async def test_a_body_without_a_known_token_is_refused_unread(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    exchange = Exchange(part(b"{"))  # the rest never comes
    async with asyncio.timeout(30):
        await exchange.with_app(limit(tokens=TOKENS), scope_of(method, headers=headers))
    assert (exchange.status, exchange.num_asked) == (401, 0)
    assert exchange.headers[b"connection"] == b"close"
    assert exchange.headers[b"www-authenticate"] == b"Bearer"


@pytest.mark.parametrize("headers", [[KNOWN], []])
async def test_without_a_body_the_application_answers(headers: list[tuple[bytes, bytes]]) -> None:
    exchange = Exchange()
    await exchange.with_app(limit(tokens=TOKENS), scope_of("POST", headers=[*headers, (b"content-length", b"0")]))
    assert (exchange.status, exchange.body) == (200, b"")


@pytest.mark.parametrize("max_seconds", [0.05, 1.2])
async def test_a_body_that_does_not_come_in_time_is_refused(max_seconds: float) -> None:
    exchange = Exchange(part(b"{"))
    async with asyncio.timeout(30):
        await exchange.with_app(limit(max_seconds=max_seconds, tokens=TOKENS), scope_of(headers=[LONG, KNOWN]))
    assert exchange.status == 408
    assert exchange.headers[b"connection"] == b"close"


async def test_a_body_in_time_is_whole_however_slowly_it_comes() -> None:
    exchange = Exchange(part(b"first "))
    running = asyncio.create_task(exchange.with_app(limit(), scope_of(headers=[LONG])))
    await asyncio.sleep(1.1)  # beyond what counts as prompt
    exchange.given.put_nowait(part(b"last", is_last=True))
    await running
    assert (exchange.status, exchange.body) == (200, b"first last")


async def test_slow_bodies_of_one_client_are_bounded_and_leave_room_for_others() -> None:
    app = limit(max_seconds=3.0)
    slow = [Exchange(part(b"{")) for _ in range(60)]
    running = [asyncio.create_task(it.with_app(app, scope_of(headers=[LONG]))) for it in slow]
    other = Exchange(part(b"first "))
    running.append(asyncio.create_task(other.with_app(app, scope_of(headers=[LONG], client="192.0.2.2"))))
    prompt = Exchange(part(b"all", is_last=True))
    await prompt.with_app(app, scope_of(headers=[LONG]))
    assert prompt.body == b"all"
    await asyncio.sleep(1.5)
    other.given.put_nowait(part(b"last", is_last=True))
    await asyncio.gather(*running)
    assert other.body == b"first last"
    assert sorted(it.status for it in slow) == [408] * 50 + [429] * 10
    assert len(app._slow_places) == app._num_bytes == 0


async def test_who_goes_away_is_not_answered() -> None:
    exchange = Exchange(part(b"{"), {"type": "http.disconnect"})
    app = limit()
    await exchange.with_app(app, scope_of(headers=[LONG]))
    assert exchange.answered == []
    assert app._num_bytes == 0


async def test_bodies_in_memory_have_a_bound_together() -> None:
    app = limit(max_bytes=100)
    held = [Exchange(part(b"x" * 100)) for _ in range(16)]
    running = [
        asyncio.create_task(it.with_app(app, scope_of(headers=[(b"transfer-encoding", b"chunked")]))) for it in held
    ]
    while app._num_bytes < 1600:
        await asyncio.sleep(0)
    refused = Exchange(part(b"x"))
    await refused.with_app(app, scope_of(headers=[(b"transfer-encoding", b"chunked")]))
    assert refused.status == 503
    for it in held:
        it.given.put_nowait(part(b"", is_last=True))
    await asyncio.gather(*running)
    assert {it.status for it in held} == {200}
    assert app._num_bytes == 0


@pytest.mark.parametrize("digits", [b"101", b"9" * 5000, b"0" * 5000 + b"101"])
async def test_a_length_however_long_is_compared(digits: bytes) -> None:
    exchange = Exchange()
    await exchange.with_app(limit(max_bytes=100), scope_of(headers=[(b"content-length", digits)]))
    assert exchange.status == 413


@given(chunks=st.lists(st.binary(max_size=40), max_size=8), is_announced=st.booleans())
async def test_the_application_gets_what_was_sent_or_nothing(chunks: list[bytes], is_announced: bool) -> None:
    body = b"".join(chunks)
    header = (b"content-length", str(len(body)).encode()) if is_announced else (b"transfer-encoding", b"chunked")
    exchange = Exchange(*[part(chunk) for chunk in chunks], part(b"", is_last=True))
    await exchange.with_app(limit(max_bytes=100), scope_of(headers=[header]))
    if len(body) > 100:
        assert exchange.status == 413
    else:
        assert (exchange.status, exchange.body) == (200, body)
