"""Previews over HTTP: a stream of JPEGs for a browser's `<img>`, and one JPEG at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Response
from fastapi.responses import StreamingResponse

from emostream.service.api_context import Context, StreamId
from emostream.service.api_models import problem_responses
from emostream.service.preview import PreviewKind, PreviewPicture, preview_channel, preview_kind
from emostream.service.preview_feed import PreviewFeed

_BOUNDARY = "frame"
_MAX_VIEWERS = 50  # each holds a connection to Redis and up to a megabyte a second of the network
_ONE_PICTURE_SECONDS = 5.0
_CHECK_SECONDS = 2.0  # how often a viewer of a stream that stands still asks whether it is over

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies would hold pictures back
}

Boxes = Annotated[bool, Query(description="Draw boxes, track ids and emotions; false to draw them from the events.")]
Blur = Annotated[bool, Query(description="Make faces unrecognisable; the operator may have asked for that always.")]


def add_previews(app: FastAPI, *, reading: list[Any]) -> None:
    """The two paths; the number of those who look at once is bounded."""
    viewers = asyncio.Semaphore(_MAX_VIEWERS)

    @app.get(
        "/v1/streams/{stream_id}/preview.mjpeg",
        dependencies=reading,
        tags=["previews"],
        response_class=StreamingResponse,
        responses={
            200: {"content": {f"multipart/x-mixed-replace; boundary={_BOUNDARY}": {}}, "description": "JPEGs"},
            **problem_responses(403, 404, 409),
        },
    )
    async def preview_stream(
        stream_id: StreamId, context: Context, boxes: Boxes = True, blur: Blur = False
    ) -> StreamingResponse:
        """Small pictures as they are processed, up to 10 a second, until the stream is over; nothing is stored.

        Each part says in its headers which frame it is (`X-Epoch`, `X-Frame-Index`, `X-Pts-Seconds`, `X-Captured-At`)
        and how large that frame was (`X-Frame-Width`, `X-Frame-Height`; boxes in events are in its pixels).
        """
        kind = await _kind_to_show(context, stream_id, has_boxes=boxes, is_blurred=blur)
        _check_room(viewers)

        async def parts() -> AsyncIterator[bytes]:
            async with viewers, PreviewFeed(context.store, channel=preview_channel(stream_id, kind)) as feed:
                while True:
                    picture = await feed.next(timeout_seconds=_CHECK_SECONDS)
                    if picture is not None:
                        yield _part(picture)
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
        """The next picture, with the same headers; 503 where none comes within a few seconds."""
        kind = await _kind_to_show(context, stream_id, has_boxes=boxes, is_blurred=blur)
        _check_room(viewers)
        async with viewers, PreviewFeed(context.store, channel=preview_channel(stream_id, kind)) as feed:
            picture = await feed.next(timeout_seconds=_ONE_PICTURE_SECONDS)
        if picture is None:
            raise HTTPException(503, f"stream {stream_id} shows no picture now", headers={"Retry-After": "2"})
        return Response(picture.jpeg, media_type="image/jpeg", headers=_HEADERS | _headers_of(picture))


async def _kind_to_show(context: Context, stream_id: str, *, has_boxes: bool, is_blurred: bool) -> PreviewKind:
    allowed = context.settings.service.previews
    if allowed == "off":
        raise HTTPException(403, "previews are switched off here; the operator can set service.previews")
    if (await context.status(stream_id)).state.is_final:
        raise HTTPException(409, f"stream {stream_id} is over: there is nothing to see")
    return preview_kind(has_boxes=has_boxes, is_blurred=is_blurred or allowed == "blurred")


def _check_room(viewers: asyncio.Semaphore) -> None:
    if viewers.locked():
        raise HTTPException(503, "too many look at previews", headers={"Retry-After": "5"})


def _headers_of(picture: PreviewPicture) -> dict[str, str]:
    return {
        "X-Epoch": str(picture.epoch),
        "X-Frame-Index": str(picture.frame_index),
        "X-Pts-Seconds": f"{picture.pts_seconds:.6f}",
        "X-Captured-At": picture.captured_at.isoformat(),
        "X-Frame-Width": str(picture.frame_width),
        "X-Frame-Height": str(picture.frame_height),
    }


def _part(picture: PreviewPicture) -> bytes:
    headers = {"Content-Type": "image/jpeg", "Content-Length": str(len(picture.jpeg))} | _headers_of(picture)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"--{_BOUNDARY}\r\n{head}\r\n".encode() + picture.jpeg + b"\r\n"
