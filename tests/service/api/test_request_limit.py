"""Requests at once: of one client, in all, and those that are never refused."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emostream.config import TokenSettings
from emostream.service.api.request_limit import RequestLimit
from emostream.service.api.tokens import Tokens
from tests.service.asgi import Exchange, scope_of

TOKENS = tuple(
    TokenSettings(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), scopes=("read",)) for name in ("a", "b")
)


class Lasting:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.num_running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.num_running += 1
        await self.may_answer.wait()
        await Response(b"done")(scope, receive, send)


async def status_of(app: RequestLimit, scope: dict[str, object]) -> int:
    exchange = Exchange()
    async with asyncio.timeout(30):
        await exchange.with_app(app, scope)
    return exchange.status


def bearer(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {token}".encode())]


@pytest.fixture
def inner() -> Lasting:
    return Lasting()


def limit(inner: Lasting) -> RequestLimit:
    return RequestLimit(
        inner, max_requests=5, max_requests_per_client=3, tokens=Tokens(TOKENS), unlimited=("/livez", "/metrics")
    )


async def test_what_is_too_much_is_refused_at_once_and_health_is_answered(inner: Lasting) -> None:
    app = limit(inner)
    lasting = [asyncio.create_task(status_of(app, scope_of("GET", "/v1", bearer("a")))) for _ in range(3)]
    while inner.num_running < 3:
        await asyncio.sleep(0)
    assert await status_of(app, scope_of("GET", "/v1", bearer("a"))) == 429
    # The same token from elsewhere is the same client; who makes tokens up is known by the address.
    assert await status_of(app, scope_of("GET", "/v1", bearer("a"), client="192.0.2.2")) == 429
    made_up = [scope_of("GET", "/v1", bearer(f"made-up-{number}")) for number in range(2)]
    lasting += [asyncio.create_task(status_of(app, scope)) for scope in made_up]
    while inner.num_running < 5:
        await asyncio.sleep(0)
    assert await status_of(app, scope_of("GET", "/v1", bearer("b"))) == 503
    assert await status_of(app, scope_of("POST", "/livez", [(b"content-length", b"9")])) == 503
    lasting += [asyncio.create_task(status_of(app, scope_of("GET", path))) for path in ("/livez", "/metrics")]
    while inner.num_running < 7:
        await asyncio.sleep(0)
    inner.may_answer.set()
    assert await asyncio.gather(*lasting) == [200] * 7
    assert await status_of(app, scope_of("GET", "/v1", bearer("b"))) == 200
