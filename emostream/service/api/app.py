"""The HTTP interface: what every path has in common. The paths are in `streams.py` and its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from emostream.config import ServiceSettings, Settings
from emostream.errors import EmostreamError
from emostream.service.api.answer_window import AnswerWindow
from emostream.service.api.context import ApiContext, Context, Waits
from emostream.service.api.docs import add_docs
from emostream.service.api.events import add_events
from emostream.service.api.history import add_history
from emostream.service.api.hosts import HostGuard, HostNames
from emostream.service.api.jobs import add_jobs
from emostream.service.api.limits import BodyLimit, RateLimit
from emostream.service.api.metrics import add_metrics, recording
from emostream.service.api.pictures import (
    FACES_LEFT_OUT_HEADER,
    FIRST_OF_MANY_HEADER,
    PICTURES_PATH,
    add_pictures,
)
from emostream.service.api.previews import PICTURE_HEADERS, add_previews
from emostream.service.api.problems import add_problem_handlers
from emostream.service.api.push import add_push
from emostream.service.api.request_limit import RequestLimit
from emostream.service.api.shared_limits import SharedLimits
from emostream.service.api.streams import add_streams
from emostream.service.api.tokens import Scope, Tokens, allows
from emostream.service.api.whip import add_whip
from emostream.service.api.withdrawn import WithdrawnTokens
from emostream.service.api.workers import add_workers
from emostream.service.console.pages import add_console
from emostream.service.registry.metrics import Recorder
from emostream.wire.http_models import Alive, Readiness

_READY_SECONDS = 2.0
_HEALTH = ("/livez", "/readyz")
_ALWAYS = (*_HEALTH, "/metrics")  # monitoring must see it when it is overloaded


def build_api(
    settings: Settings,
    *,
    redis_url: str,
    record: Recorder | None = None,
    max_untold_bytes: int | None = None,
    waits: Waits | None = None,
) -> FastAPI:
    """The interface as an ASGI app; it connects when its server starts it.

    Args:
        settings: all settings.
        redis_url: registry and events.
        record: gets the figures of the interface as well.
        max_untold_bytes: bound on one answer where the server neither holds it back nor tells of its reader.
        waits: how long answers wait for streams.
    """

    service = settings.service
    tokens, shared = Tokens(service.tokens, file=service.tokens_file), SharedLimits()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            ApiContext(settings, redis_url=redis_url, waits=waits) as context,
            recording(context, record),
            tokens.followed(),
            shared.opened(settings.publish, redis_url=redis_url),
        ):
            app.state.context = context
            yield

    app = FastAPI(
        title="emostream",
        version=version("emostream"),
        summary="Facial expressions in video, published as events.",
        lifespan=lifespan,
        docs_url=None,  # the framework's pages load scripts from a CDN
        redoc_url=None,
    )
    _add_limits(app, service, tokens=tokens, shared=shared, max_untold_bytes=max_untold_bytes)
    add_problem_handlers(app)
    reading, writing = [Depends(_allowed("read", tokens))], [Depends(_allowed("write", tokens))]
    _add_health(app)
    add_metrics(app, reading=reading)
    add_streams(app, reading=reading, writing=writing)
    add_whip(app, writing=writing, tokens=tokens)
    add_push(app, tokens=tokens, service=service)
    add_jobs(app, reading=reading, writing=writing)
    add_workers(app, reading=reading)
    add_events(app, reading=reading)
    add_history(app, reading=reading)
    add_previews(app, reading=reading)
    add_pictures(app, reading=reading, check_fetch=_allowed("fetch", tokens))
    add_docs(app)
    add_console(app)
    return app


def _add_limits(
    app: FastAPI, service: ServiceSettings, *, tokens: Tokens, shared: SharedLimits, max_untold_bytes: int | None
) -> None:
    """Each is asked before those above it."""
    app.add_middleware(WithdrawnTokens, tokens=tokens)
    app.add_middleware(
        BodyLimit,
        max_bytes=service.max_body_bytes,
        max_seconds=service.max_body_seconds,
        tokens=tokens,
        for_pictures=(PICTURES_PATH,),
    )
    app.add_middleware(
        RequestLimit,
        max_requests=service.max_requests,
        max_requests_per_client=service.max_requests_per_client,
        tokens=tokens,
        unlimited=_ALWAYS,
        shared=shared,
    )
    app.add_middleware(
        RateLimit,
        per_second=service.max_requests_per_second,
        tokens=tokens,
        unlimited=_HEALTH,
        shared=shared,
    )
    app.add_middleware(AnswerWindow, max_untold_bytes=max_untold_bytes)
    # Where a token is needed, the name does not matter: other pages have none.
    has_any_name = tokens.are_needed and not service.allowed_hosts
    app.add_middleware(HostGuard, names=None if has_any_name else HostNames(service.allowed_hosts), unlimited=_HEALTH)
    if service.allowed_origins:  # refusals of the limits must be readable as well; questions of browsers cost nothing
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.allowed_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            expose_headers=[
                "Location",
                "Link",
                "Retry-After",
                FIRST_OF_MANY_HEADER,
                FACES_LEFT_OUT_HEADER,
                *PICTURE_HEADERS,
            ],
        )


_bearer = HTTPBearer(auto_error=False, description="Bearer token; its hash is in the setting `service.tokens`.")


def _allowed(scope: Scope, tokens: Tokens) -> Callable[..., Awaitable[None]]:
    """A dependency that lets through clients that may do this; where no token is needed, all of them."""

    async def check(
        request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None
    ) -> None:
        if not tokens.are_needed:
            return
        entry = tokens.of(request.scope)
        if entry is None:
            raise HTTPException(401, "a valid bearer token is required", headers={"WWW-Authenticate": "Bearer"})
        if not allows(entry, scope):
            raise HTTPException(403, f"the token {entry.name!r} may not {scope}: it lacks this scope")
        request.state.token_name = entry.name

    return check


def _add_health(app: FastAPI) -> None:
    @app.get("/livez", tags=["health"])
    async def livez() -> Alive:
        """Liveness: the process answers."""
        return Alive()

    @app.get("/readyz", tags=["health"], responses={503: {"model": Readiness, "description": "Not ready"}})
    async def readyz(context: Context, response: Response) -> Readiness:
        """Readiness: Redis answers and keeps what it is given, and at least one stream worker is alive."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                view = await context.look()
                memory = await context.store.memory_problems()
        except (EmostreamError, TimeoutError):
            response.status_code = 503
            problem = "Redis does not answer"
            return Readiness(ready=False, num_workers=0, num_streams=0, capacity=0, problems=[problem])
        takers = [worker for worker in view.workers.values() if not worker.is_draining]
        is_ready = bool(takers) and not memory.errors
        response.status_code = 200 if is_ready else 503
        no_worker = [] if takers else ["no stream worker is running"]
        return Readiness(
            ready=is_ready,
            num_workers=len(takers),
            num_streams=len(view.unfinished_ids()),
            capacity=sum(worker.max_streams for worker in takers),
            problems=[*no_worker, *memory.errors, *memory.warnings],
        )
