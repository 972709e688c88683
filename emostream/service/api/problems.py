"""Errors of the HTTP interface as `application/problem+json` (RFC 9457), credentials masked."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from emostream.domain.redact import redact
from emostream.errors import (
    ConfigError,
    DecodeError,
    EmostreamError,
    ModelError,
    PublishError,
    RecordError,
    RegistryError,
    SourceError,
)
from emostream.service.registry.jobs import JobExistsError, UnknownJobError
from emostream.service.registry.streams import (
    NotFailedError,
    OwnerFullError,
    RegistryFullError,
    StreamBusyError,
    StreamExistsError,
    UnknownStreamError,
    UnreadableRecordError,
)
from emostream.wire.http_models import PROBLEM_TYPE, place_of_error

logger = logging.getLogger(__name__)

_MAX_ERRORS_TOLD = 20
_ID_IN_WORDS = "expected at most 64 letters, digits, dots, dashes and underscores, starting with a letter or digit"

# The first that fits, so subclasses come first.
_STATUS_OF: tuple[tuple[type[EmostreamError], int], ...] = (
    (UnknownStreamError, 404),
    (UnknownJobError, 404),
    (StreamExistsError, 409),
    (JobExistsError, 409),
    (UnreadableRecordError, 409),
    (NotFailedError, 409),
    (StreamBusyError, 409),
    (RegistryFullError, 503),
    (OwnerFullError, 429),
    (ConfigError, 422),
    (DecodeError, 422),
    (SourceError, 422),
    (PublishError, 503),
    (RegistryError, 503),
    (RecordError, 503),
    (ModelError, 503),
)


def problem(
    status: int, detail: str, *, headers: dict[str, str] | None = None, errors: list[dict[str, Any]] | None = None
) -> JSONResponse:
    """An error as a response."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": redact(detail),
    }
    if errors:
        content["errors"] = errors
    return JSONResponse(content, status_code=status, media_type=PROBLEM_TYPE, headers=headers)


def status_of_error(exc: EmostreamError) -> int:
    """The HTTP status that fits what the caller should do about it."""
    return next((status for kind, status in _STATUS_OF if isinstance(exc, kind)), 500)


def _in_words(item: dict[str, Any]) -> str:
    """What is wrong with one value, also for people who read no patterns."""
    is_id = item["type"] == "string_pattern_mismatch" and item["loc"][-1] == "id"
    return _ID_IN_WORDS if is_id else str(item["msg"])


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem."""

    @app.exception_handler(EmostreamError)
    async def of_ours(request: Request, exc: EmostreamError) -> JSONResponse:
        status = status_of_error(exc)
        return problem(status, str(exc), headers={"Retry-After": "2"} if status == 503 else None)

    @app.exception_handler(HTTPException)
    async def of_framework(request: Request, exc: HTTPException) -> JSONResponse:
        return problem(exc.status_code, str(exc.detail), headers=dict(exc.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def of_validation(request: Request, exc: RequestValidationError) -> JSONResponse:
        # Without the input: it may hold a camera's password.
        told = exc.errors()[:_MAX_ERRORS_TOLD]
        errors = [{"where": place_of_error(item), "message": _in_words(item)} for item in told]
        first = f"{errors[0]['where']}: {errors[0]['message']}" if errors else "the request is not valid"
        return problem(422, first, errors=errors)

    @app.exception_handler(Exception)
    async def of_anything(request: Request, exc: Exception) -> JSONResponse:
        logger.exception("internal error in %s %s", request.method, request.url.path)
        return problem(
            500, f"internal error ({type(exc).__name__}); this is a bug in emostream, see the log of the service"
        )
