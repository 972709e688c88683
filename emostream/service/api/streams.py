"""Streams over HTTP: create, list, show, change, retry and delete them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response

from emostream.domain.redact import shown_address
from emostream.domain.stream import PUSHED, StreamState
from emostream.errors import SourceUnavailableError
from emostream.service.api.context import Context, StreamId
from emostream.service.api.conversions import changed_record, record_from_request, stream_view
from emostream.service.registry.records import StreamRecord
from emostream.wire.http_models import (
    StreamChange,
    StreamList,
    StreamRequest,
    StreamView,
    problem_responses,
)

_MAX_PAGE = 500


class _SearchTexts:
    """Ids and URLs of streams for searching, without regard to case; credentials are not searched.

    Masking a URL takes longer than searching hundreds, so the texts are kept for as long as their records.
    """

    def __init__(self) -> None:
        self._records: Mapping[str, StreamRecord] = {}
        self._texts: dict[str, str] = {}

    def of(self, records: Mapping[str, StreamRecord]) -> Mapping[str, str]:
        """The texts of all records, by id. Records that are the same objects as in the last call cost little."""
        if records is not self._records:
            before, known = self._records, self._texts
            self._texts = {
                name: known[name] if before.get(name) is record else _searched(record)
                for name, record in records.items()
            }
            self._records = records
        return self._texts


def _searched(record: StreamRecord) -> str:
    return f"{record.stream_id}\n{shown_address(record.spec.url)}".casefold()


def add_streams(app: FastAPI, *, reading: list[Any], writing: list[Any]) -> None:
    """The paths of `/v1/streams` that answer at once."""
    search_texts = _SearchTexts()

    @app.post(
        "/v1/streams",
        status_code=201,
        dependencies=writing,
        tags=["streams"],
        responses={
            200: {"model": StreamView, "description": "The stream existed already with the same options"},
            **problem_responses(400, 409, 413),
        },
    )
    async def create_stream(body: StreamRequest, context: Context, request: Request, response: Response) -> StreamView:
        """Create a stream. Idempotent: an identical request returns 200."""
        record = record_from_request(body)
        try:
            if body.url != PUSHED:
                await context.in_thread(context.policy.check, body.url)
        except SourceUnavailableError as exc:  # the check is not possible now
            raise HTTPException(503, str(exc), headers={"Retry-After": "2"}) from exc
        record, is_new = await context.registry.create(record, owner=getattr(request.state, "token_name", ""))
        response.status_code = 201 if is_new else 200
        response.headers["Location"] = f"/v1/streams/{record.stream_id}"
        return stream_view(await context.status(record.stream_id))

    @app.get("/v1/streams", dependencies=reading, tags=["streams"], responses=problem_responses())
    async def list_streams(
        context: Context,
        *,
        state: Annotated[
            list[StreamState] | None, Query(description="Return only streams in one of these states.")
        ] = None,
        prefix: Annotated[str, Query(max_length=64, description="Return only streams whose ids start with this.")] = "",
        search: Annotated[
            str, Query(max_length=200, description="Return only streams whose id or URL (masked) contains this.")
        ] = "",
        paused: Annotated[bool | None, Query(description="Return only streams that are paused, or are not.")] = None,
        cursor: Annotated[str, Query(max_length=64, description="`next_cursor` of the previous page.")] = "",
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Maximum number of streams on the page.")] = 100,
    ) -> StreamList:
        """List streams by id, page by page."""
        view = await context.look()
        text = search.casefold()
        texts = search_texts.of(view.records) if text else {}

        def is_wanted(record: StreamRecord) -> bool:
            return (paused is None or record.is_paused is paused) and (not text or text in texts[record.stream_id])

        page = await context.registry.page(
            view,
            limit=limit,
            cursor=cursor,
            prefix=prefix,
            states=state or (),
            is_wanted=is_wanted if text or paused is not None else None,
        )
        streams = [stream_view(status) for status in page.statuses]
        return StreamList(
            streams=streams,
            next_cursor=streams[-1].id if page.has_more else None,
            num_matching=page.num_matching,
            unreadable=sorted(name for name in view.unreadable if name.startswith(prefix)),
        )

    @app.get("/v1/streams/{stream_id}", dependencies=reading, tags=["streams"], responses=problem_responses(404, 409))
    async def show_stream(stream_id: StreamId, context: Context) -> StreamView:
        """Show a stream: its options, state and statistics."""
        return stream_view(await context.status(stream_id))

    @app.patch(
        "/v1/streams/{stream_id}",
        dependencies=writing,
        tags=["streams"],
        responses=problem_responses(400, 404, 409, 413),
    )
    async def change_stream(stream_id: StreamId, body: StreamChange, context: Context) -> StreamView:
        """Change a stream in place. Its source stays open, unless `zones` or `pixel_aspect` change."""
        await context.registry.change(stream_id, functools.partial(changed_record, body))
        return stream_view(await context.status(stream_id))

    @app.post(
        "/v1/streams/{stream_id}/retry",
        dependencies=writing,
        tags=["streams"],
        responses=problem_responses(404, 409),
    )
    async def retry_stream(stream_id: StreamId, context: Context) -> StreamView:
        """Retry a failed stream; 409 if it has not failed. A file resumes after the last published frame."""
        await context.registry.retry(stream_id)
        return stream_view(await context.status(stream_id))

    @app.delete(
        "/v1/streams/{stream_id}",
        status_code=204,
        dependencies=writing,
        tags=["streams"],
        responses=problem_responses(404),
    )
    async def remove_stream(stream_id: StreamId, context: Context) -> None:
        """Delete a stream. Its published events are kept until they are trimmed."""
        await context.registry.remove(stream_id)
