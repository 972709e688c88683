"""Previews over HTTP: JPEGs for a browser's `<img>`, one at a time, and many streams with their events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from emostream.service.api.context import Context, StreamId
from emostream.service.api.preview_feed import PreviewFeed
from emostream.wire.http_models import problem_responses
from emostream.wire.preview import PreviewKind, PreviewPicture, preview_channel, preview_kind

_BOUNDARY = "frame"
_MAX_VIEWERS = 50  # each holds a connection to Redis and up to a megabyte a second of the network
_MAX_STREAMS = 48  # of one page

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies would hold pictures back
}

PICTURE_HEADERS = ("X-Epoch", "X-Frame-Index", "X-Pts-Seconds", "X-Captured-At", "X-Frame-Width", "X-Frame-Height")
"""Which frame a picture shows."""

Boxes = Annotated[bool, Query(description="Draw boxes, track ids and emotions.")]
Blur = Annotated[bool, Query(description="Blur faces; the setting `service.previews` can require it.")]


def add_previews(app: FastAPI, *, reading: list[Any]) -> None:
    """The paths; the number of those who look at once is bounded."""
    viewers = asyncio.Semaphore(_MAX_VIEWERS)
    _add_page_of_previews(app, viewers, reading=reading)

    @app.get(
        "/v1/streams/{stream_id}/preview.mjpeg",
        dependencies=reading,
        tags=["previews"],
        response_class=StreamingResponse,
        responses={
            200: {
                "content": {f"multipart/x-mixed-replace; boundary={_BOUNDARY}": {}},
                "description": "A sequence of JPEGs",
            },
            **problem_responses(403, 404, 409),
        },
    )
    async def preview_stream(
        stream_id: StreamId, context: Context, boxes: Boxes = True, blur: Blur = False
    ) -> StreamingResponse:
        """Stream small pictures (MJPEG), up to 10 per second, until the stream ends. Nothing is stored.

        The headers of each part identify the frame (`X-Epoch`, `X-Frame-Index`, `X-Pts-Seconds`, `X-Captured-At`) and
        its size (`X-Frame-Width`, `X-Frame-Height`); boxes in events are in pixels of the frame.
        """
        kind = await _kind_to_show(context, stream_id, has_boxes=boxes, is_blurred=blur)
        _check_room(viewers)

        async def parts() -> AsyncIterator[bytes]:
            async with viewers, PreviewFeed(context.store, channels=[preview_channel(stream_id, kind)]) as feed:
                while True:
                    picture = await feed.next(timeout_seconds=context.waits.check_seconds)
                    if picture is not None:
                        yield _part("image/jpeg", picture.jpeg, _headers_of(picture))
                    elif await context.is_over(stream_id):
                        return

        media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return StreamingResponse(parts(), media_type=media_type, headers=_HEADERS)

    @app.get(
        "/v1/streams/{stream_id}/preview.jpg",
        dependencies=reading,
        tags=["previews"],
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}, "description": "A JPEG"}, **problem_responses(403, 404, 409)},
    )
    async def preview_picture(
        stream_id: StreamId, context: Context, boxes: Boxes = True, blur: Blur = False
    ) -> Response:
        """Return the next picture of a stream as a JPEG; 503 if there is none within 5 seconds."""
        kind = await _kind_to_show(context, stream_id, has_boxes=boxes, is_blurred=blur)
        _check_room(viewers)
        async with viewers, PreviewFeed(context.store, channels=[preview_channel(stream_id, kind)]) as feed:
            picture = await feed.next(timeout_seconds=context.waits.one_picture_seconds)
        if picture is None:
            raise HTTPException(
                503, f"stream {stream_id} shows no picture now; try again later", headers={"Retry-After": "2"}
            )
        return Response(picture.jpeg, media_type="image/jpeg", headers=_HEADERS | _headers_of(picture))


def _add_page_of_previews(app: FastAPI, viewers: asyncio.Semaphore, *, reading: list[Any]) -> None:
    @app.get(
        "/v1/previews",
        dependencies=reading,
        tags=["previews"],
        response_class=StreamingResponse,
        responses={
            200: {
                "content": {f"multipart/mixed; boundary={_BOUNDARY}": {}},
                "description": "Pairs of an event and a JPEG",
            },
            **problem_responses(403, 404),
        },
    )
    async def page_of_previews(
        context: Context,
        stream: Annotated[
            list[Annotated[str, Field(max_length=64)]],
            Query(
                min_length=1, max_length=_MAX_STREAMS, description="Stream id; repeat the parameter for more streams."
            ),
        ],
        size: Annotated[
            Literal["full", "small"],
            Query(description="`full`: 640 pixels, up to 10 per second; `small`: 320 pixels, up to 2 per second."),
        ] = "full",
        blur: Blur = False,
    ) -> StreamingResponse:
        """Stream pictures and events of several streams over one connection, until all streams have ended.

        Parts come in pairs: `application/json` is the event (docs/events.md, without landmarks), and the `image/jpeg`
        after it is its picture, with nothing drawn on it. Boxes are in pixels of the frame (`frame_width`,
        `frame_height`); the picture shows the whole frame, smaller and with square pixels. Unknown and ended streams
        are skipped; 404 if all are unknown.
        """
        is_blurred = _is_blurred(context, is_wanted=blur)
        kind = preview_kind(has_boxes=False, is_blurred=is_blurred, is_small=size == "small")
        records = (await context.look()).records
        known = [stream_id for stream_id in dict.fromkeys(stream) if stream_id in records]
        if not known:  # a preview that no worker makes is not noted as watched
            raise HTTPException(404, f"there is no stream {stream[0]}{' and none of the others' * (len(stream) > 1)}")
        _check_room(viewers)

        async def parts() -> AsyncIterator[bytes]:
            channels = [preview_channel(stream_id, kind) for stream_id in known]
            async with viewers, PreviewFeed(context.store, channels=channels) as feed:
                yield b"\r\n"  # headers go out before the first picture
                while True:
                    picture = await feed.next(timeout_seconds=context.waits.check_seconds)
                    if picture is not None:
                        yield _part("application/json", picture.event_json) + _part("image/jpeg", picture.jpeg)
                    elif await context.are_over(known):
                        yield f"--{_BOUNDARY}--\r\n".encode()
                        return
                    else:
                        yield b"\r\n"  # so that a reader who went away is noticed

        return StreamingResponse(parts(), media_type=f"multipart/mixed; boundary={_BOUNDARY}", headers=_HEADERS)


async def _kind_to_show(context: Context, stream_id: str, *, has_boxes: bool, is_blurred: bool) -> PreviewKind:
    is_blurred = _is_blurred(context, is_wanted=is_blurred)
    if (await context.status(stream_id)).state.is_final:
        raise HTTPException(409, f"stream {stream_id} has ended; there is no preview")
    return preview_kind(has_boxes=has_boxes, is_blurred=is_blurred)


def _is_blurred(context: Context, *, is_wanted: bool) -> bool:
    allowed = context.settings.service.previews
    if allowed == "off":
        raise HTTPException(403, "previews are disabled; the operator can enable them with service.previews")
    return is_wanted or allowed == "blurred"


def _check_room(viewers: asyncio.Semaphore) -> None:
    if viewers.locked():
        raise HTTPException(503, "too many viewers of previews; try again later", headers={"Retry-After": "5"})


def _headers_of(picture: PreviewPicture) -> dict[str, str]:
    values = (
        picture.epoch,
        picture.frame_index,
        f"{picture.pts_seconds:.6f}",
        picture.captured_at.isoformat(),
        picture.frame_width,
        picture.frame_height,
    )
    return dict(zip(PICTURE_HEADERS, map(str, values), strict=True))


def _part(media_type: str, content: bytes, headers: dict[str, str] | None = None) -> bytes:
    named = {"Content-Type": media_type, "Content-Length": str(len(content))} | (headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"--{_BOUNDARY}\r\n{head}\r\n".encode() + content + b"\r\n"
