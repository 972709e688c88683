"""The HTTP interface: streams, their events, single pictures, models, health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response, Security
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from emostream.classify.manifest import ModelManifest
from emostream.config import Settings
from emostream.errors import EmostreamError
from emostream.publish.wire import json_from_event
from emostream.service.api_context import ApiContext
from emostream.service.api_models import Problem, Readiness, StreamChange, StreamList, StreamRequest, StreamView
from emostream.service.body_limit import BodyLimit
from emostream.service.problems import MEDIA_TYPE, add_problem_handlers
from emostream.service.registry import UnknownStreamError
from emostream.service.server_events import server_events
from emostream.service.tokens import Scope, allows, find_token
from emostream.stream import StreamState

_MAX_PAGE = 500
_MAX_EVENT_READERS = 200  # each holds a connection to Redis
_READY_SECONDS = 2.0


def build_api(settings: Settings, *, redis_url: str) -> FastAPI:
    """The interface as an ASGI app; it connects when its server starts it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with ApiContext(settings, redis_url=redis_url) as context:
            app.state.context = context
            app.state.event_readers = asyncio.Semaphore(_MAX_EVENT_READERS)
            yield

    app = FastAPI(
        title="emostream",
        version=version("emostream"),
        summary="Watch video, follow every face, publish its expression as events.",
        lifespan=lifespan,
    )
    app.add_middleware(BodyLimit, max_bytes=settings.service.max_body_bytes)
    add_problem_handlers(app)
    reading, writing = [Depends(_allowed("read", settings))], [Depends(_allowed("write", settings))]
    _add_health(app)
    _add_streams(app, reading=reading, writing=writing)
    _add_events(app, reading=reading)
    _add_models(app, reading=reading)
    return app


def _context(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(_context)]
_bearer = HTTPBearer(auto_error=False, description="A token of `service.tokens` in the settings.")


def _allowed(scope: Scope, settings: Settings) -> Callable[..., Awaitable[None]]:
    """A dependency that lets through who may do this; without any token in the settings, everybody."""
    known = settings.service.tokens

    async def check(credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]) -> None:
        if not known:
            return
        entry = find_token(credentials.credentials, known) if credentials is not None else None
        if entry is None:
            raise HTTPException(401, "a valid bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
        if not allows(entry, scope):
            raise HTTPException(403, f"the token {entry.name!r} may not {scope}")

    return check


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the errors a call may give."""
    return {
        status: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "Problem"}
        for status in sorted({401, 403, 422, 503, *statuses})
    }


def _add_health(app: FastAPI) -> None:
    @app.get("/livez", tags=["health"])
    async def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"], responses={503: {"model": Readiness}})
    async def readyz(context: Context, response: Response) -> Readiness:
        """Redis answers, and at least one stream worker renewed its leases lately."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                view = await context.look()
        except (EmostreamError, TimeoutError):
            response.status_code = 503
            return Readiness(ready=False, num_workers=0, num_streams=0, capacity=0)
        takers = [worker for worker in view.workers.values() if not worker.is_draining]
        response.status_code = 200 if takers else 503
        return Readiness(
            ready=bool(takers),
            num_workers=len(takers),
            num_streams=len(view.unfinished_ids()),
            capacity=sum(worker.max_streams for worker in takers),
        )


def _add_streams(app: FastAPI, *, reading: list[Any], writing: list[Any]) -> None:
    async def view_of(stream_id: str, context: ApiContext) -> StreamView:
        return StreamView.of(await context.registry.status(stream_id, await context.look()))

    @app.post(
        "/v1/streams",
        status_code=201,
        dependencies=writing,
        tags=["streams"],
        responses={200: {"model": StreamView, "description": "It was there already"}, **_problems(409, 413)},
    )
    async def create_stream(body: StreamRequest, context: Context, response: Response) -> StreamView:
        """Ask for a stream. Asking again for the very same changes nothing and answers 200."""
        record = body.record()
        await asyncio.to_thread(context.policy.check, body.url)
        record, is_new = await context.registry.create(record)
        response.status_code = 201 if is_new else 200
        response.headers["Location"] = f"/v1/streams/{record.stream_id}"
        return await view_of(record.stream_id, context)

    @app.get("/v1/streams", dependencies=reading, tags=["streams"], responses=_problems())
    async def list_streams(
        context: Context,
        state: Annotated[list[StreamState] | None, Query(description="Only streams in one of these states.")] = None,
        prefix: Annotated[str, Query(max_length=64, description="Only ids that begin with this.")] = "",
        cursor: Annotated[str, Query(max_length=64, description="`next_cursor` of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 100,
    ) -> StreamList:
        """All streams, by id, page by page."""
        statuses = [
            status
            for status in await context.registry.statuses(await context.look())
            if status.record.stream_id.startswith(prefix) and (not state or status.state in state)
        ]
        after = [status for status in statuses if status.record.stream_id > cursor]
        page = [StreamView.of(status) for status in after[:limit]]
        return StreamList(
            streams=page, next_cursor=page[-1].id if len(after) > limit else None, num_matching=len(statuses)
        )

    @app.get("/v1/streams/{stream_id}", dependencies=reading, tags=["streams"], responses=_problems(404))
    async def show_stream(stream_id: str, context: Context) -> StreamView:
        """One stream and how it is doing."""
        return await view_of(stream_id, context)

    @app.patch("/v1/streams/{stream_id}", dependencies=writing, tags=["streams"], responses=_problems(404, 413))
    async def change_stream(stream_id: str, body: StreamChange, context: Context) -> StreamView:
        """Change a stream in place: its source stays open (a change of zones opens it again)."""
        await context.registry.change(stream_id, body.apply)
        return await view_of(stream_id, context)

    @app.delete(
        "/v1/streams/{stream_id}", status_code=204, dependencies=writing, tags=["streams"], responses=_problems(404)
    )
    async def remove_stream(stream_id: str, context: Context) -> None:
        """Ask for a stream no more. Events published stay until they are trimmed."""
        await context.registry.remove(stream_id)


def _add_events(app: FastAPI, *, reading: list[Any]) -> None:
    @app.get(
        "/v1/streams/{stream_id}/events",
        dependencies=reading,
        tags=["events"],
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}, **_problems(404)},
    )
    async def stream_events(
        request: Request,
        stream_id: str,
        context: Context,
        start: Annotated[
            str,
            Query(alias="from", pattern=r"^(now|start|[0-9]{1,19}(-[0-9]{1,19})?)$", description="Where to begin."),
        ] = "now",
        last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,19}(-[0-9]{1,19})?$")] = None,
    ) -> StreamingResponse:
        """Events as they are published (server-sent events); `Last-Event-ID` goes on after that entry."""
        await context.registry.status(stream_id, await context.look())
        readers: asyncio.Semaphore = request.app.state.event_readers
        if readers.locked():
            raise HTTPException(503, "too many readers of events", headers={"Retry-After": "5"})

        async def is_over() -> bool:
            try:
                status = await context.registry.status(stream_id, await context.look())
            except UnknownStreamError:
                return True
            return status.state.is_final

        async def text() -> AsyncIterator[str]:
            async with readers:
                async for part in server_events(
                    context.settings.publish,
                    redis_url=context.redis_url,
                    stream_id=stream_id,
                    start=last_event_id or start,
                    is_over=is_over,
                ):
                    yield part

        return StreamingResponse(text(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _add_models(app: FastAPI, *, reading: list[Any]) -> None:
    @app.get("/v1/models", dependencies=reading, tags=["models"], responses=_problems())
    async def list_models(context: Context) -> list[ModelManifest]:
        """What classifies the faces, with what was measured of it."""
        return [await asyncio.to_thread(context.manifest)]

    @app.post(
        "/v1/images",
        dependencies=reading,
        tags=["models"],
        responses={200: {"content": {"application/json": {}}}, **_problems(413)},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/*",)},
            }
        },
    )
    async def classify_picture(request: Request, context: Context) -> Response:
        """The faces of the picture in the body (JPEG, PNG, …), as an event; nothing is stored."""
        event = await context.classify_picture(await request.body())
        return Response(json_from_event(event), media_type="application/json")
