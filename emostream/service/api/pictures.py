"""Single pictures and the models over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from emostream.domain.model_manifest import ModelManifest
from emostream.errors import SourceRejectedError
from emostream.service.api.context import ApiContext, Context
from emostream.wire.event_models import EventWire
from emostream.wire.events import json_from_event
from emostream.wire.http_models import SourceUrl, problem_responses

_MAX_URL_LENGTH = 2048
_MAX_PICTURES = 32  # each is in memory while it waits for its turn


class PictureUrl(BaseModel):
    """URL of a picture."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"url": "https://www.example.org/picture.jpg"}]}
    )

    url: SourceUrl = Field(
        min_length=1,
        max_length=_MAX_URL_LENGTH,
        description="HTTP or HTTPS URL, or a `file://` URL under the media root.",
    )


PICTURES_PATH = "/v1/images"

FIRST_OF_MANY_HEADER, FACES_LEFT_OUT_HEADER = "X-First-Of-Many", "X-Faces-Left-Out"
"""Headers of an answer that does not say all that the file shows."""
_NOTICE_HEADERS = {
    FIRST_OF_MANY_HEADER: {
        "description": "`true` when more pictures follow in the file (an animation, pages, a video); else absent.",
        "schema": {"type": "string"},
    },
    FACES_LEFT_OUT_HEADER: {
        "description": "How many faces were found beyond `detect.max_faces`; absent when there are none.",
        "schema": {"type": "integer"},
    },
}
_BINARY = {"type": "string", "format": "binary"}
_REQUEST_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": _BINARY},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]},
        },
        "application/json": {"schema": PictureUrl.model_json_schema()},
    },
}


def add_pictures(app: FastAPI, *, reading: list[Any], check_fetch: Callable[[Request], Awaitable[None]]) -> None:
    """The paths of `/v1/images` and `/v1/models`; the number of pictures at once is bounded.

    Args:
        app: gets the paths.
        reading: dependencies of all of them.
        check_fetch: raises where a request may not let the service fetch a URL.
    """
    pictures = asyncio.Semaphore(_MAX_PICTURES)

    @app.get("/v1/models", dependencies=reading, tags=["models"], responses=problem_responses())
    async def list_models(context: Context) -> list[ModelManifest]:
        """List the emotion models with their measured accuracy."""
        return [await asyncio.to_thread(context.manifest)]

    @app.post(
        PICTURES_PATH,
        dependencies=reading,
        tags=["models"],
        response_model=EventWire,
        responses={200: {"headers": _NOTICE_HEADERS}, **problem_responses(400, 413)},
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    async def classify_picture(request: Request, context: Context) -> Response:
        """Find and classify the faces in a picture. Returns an event; nothing is stored.

        Send the picture (JPEG, PNG, HEIC, …; of an animation, pages or a video, the first one is used) as the body, as
        the part `file` of a form, or as a URL, for which a token needs the scope `fetch`. A large picture is searched
        in parts, so that small faces are found as well; 12 megapixels take one or two seconds of one core.
        """
        if _kind_of(request) == "application/json":
            await check_fetch(request)
        if pictures.locked():
            raise HTTPException(503, "too many pictures at once; try again later", headers={"Retry-After": "2"})
        async with pictures:
            found = await context.classify_picture(await _picture_of(request, context))
        headers = {}
        if found.is_first_of_many:
            headers[FIRST_OF_MANY_HEADER] = "true"
        if found.num_faces_left_out:
            headers[FACES_LEFT_OUT_HEADER] = str(found.num_faces_left_out)
        return Response(json_from_event(found.event), media_type="application/json", headers=headers)


async def _picture_of(request: Request, context: ApiContext) -> bytes:
    kind = _kind_of(request)
    if kind == "multipart/form-data":
        return await _uploaded(request, max_bytes=context.settings.service.max_body_bytes)
    if kind == "application/json":
        return await context.fetch_picture(_url_of(await request.body()))
    return await request.body()


def _kind_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _url_of(body: bytes) -> str:
    try:
        return PictureUrl.model_validate(json.loads(body)).url
    except ValidationError as exc:
        # Not from `exc`, which holds the URL.
        raise SourceRejectedError(f"expected a picture's URL: {exc.errors()[0]['msg']}") from None
    except (ValueError, RecursionError) as exc:  # the latter of JSON that is nested deeply
        raise SourceRejectedError('expected JSON like {"url": "https://www.example.org/picture.jpg"}') from exc


async def _uploaded(request: Request, *, max_bytes: int) -> bytes:
    parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=1)
    parser.spool_max_size = max_bytes  # the body is no longer, so it reaches no disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as exc:  # KeyError: there is no boundary
        raise SourceRejectedError("expected a form with the picture as its part `file`") from exc
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise SourceRejectedError("expected a form with the picture as its part `file`")
        return await file.read()
    finally:
        await form.close()
