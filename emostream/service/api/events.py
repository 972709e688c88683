"""Events over HTTP, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Query
from fastapi.responses import StreamingResponse

from emostream.service.api.context import Context, StreamId
from emostream.service.api.server_sent import server_events
from emostream.wire.http_models import problem_responses

_MAX_READERS = 200  # each holds a connection to Redis


def add_events(app: FastAPI, *, reading: list[Any]) -> None:
    """The path; the number of those who read at once is bounded."""
    readers = asyncio.Semaphore(_MAX_READERS)

    @app.get(
        "/v1/streams/{stream_id}/events",
        dependencies=reading,
        tags=["events"],
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "Server-sent events, each with its entry id"},
            **problem_responses(404),
        },
    )
    async def stream_events(
        stream_id: StreamId,
        context: Context,
        start: Annotated[
            str,
            Query(
                alias="from",
                pattern=r"^(now|start|[0-9]{1,19}(-[0-9]{1,19})?)$",
                description="Where to start: `now`, `start` (the oldest event), or after an entry id. Ids start with "
                "the capture time in milliseconds since 1970, so a time works as well.",
            ),
        ] = "now",
        max_per_second: Annotated[
            float | None,
            Query(gt=0, le=1000, description="Maximum events per second of capture time; others are skipped."),
        ] = None,
        last_event_id: Annotated[
            str | None, Header(pattern=r"^[0-9]{1,19}(-[0-9]{1,19})?$", description="Resume after this entry id.")
        ] = None,
    ) -> StreamingResponse:
        """Stream events as they are published (server-sent events). `Last-Event-ID` resumes after that entry."""
        await context.status(stream_id)
        if readers.locked():
            raise HTTPException(503, "too many readers of events; try again later", headers={"Retry-After": "5"})

        async def text() -> AsyncIterator[str]:
            async with readers:
                async for part in server_events(
                    context.settings.publish,
                    redis_url=context.redis_url,
                    stream_id=stream_id,
                    start=last_event_id or start,
                    is_over=partial(context.is_over, stream_id),
                    idle_seconds=context.waits.idle_seconds,
                    max_per_second=max_per_second,
                ):
                    yield part

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies would hold events back
        return StreamingResponse(text(), media_type="text/event-stream", headers=headers)
