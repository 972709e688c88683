"""Serves the console from memory: a page at `/` and its files under `/console/`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response

from emostream.render.palette import EMOTION_COLOURS, OTHER_COLOUR, UNKNOWN_COLOUR, hex_of

_FOLDER = Path(__file__).parent / "static"
_INDEX = "index.html"

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Browsers that support Trusted Types reject `innerHTML` and similar, so that text cannot become a script.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The page may load from and connect to this service only, has no inline scripts or styles, and cannot be framed."""


def security_headers(policy: str) -> dict[str, str]:
    """Headers of a page or one of its files, with a content security policy."""
    return {
        "Cache-Control": "no-cache",  # cached but revalidated, so that files of different versions never mix
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that is served from memory.

    Attributes:
        content: its bytes.
        media_type: its media type.
        etag: derived from the content.
    """

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, content: bytes, *, suffix: str) -> StaticFile:
        """A file with the media type of this file name extension."""
        return cls(content, _MEDIA_TYPES[suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def console_files() -> dict[str, StaticFile]:
    """Name → file, including `palette.json` with the colours of emotions as in annotated videos."""
    found = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _MEDIA_TYPES}
    found["palette.json"] = json.dumps(
        {
            "emotions": {name: hex_of(colour) for name, colour in EMOTION_COLOURS.items()},
            "other": hex_of(OTHER_COLOUR),
            "unknown": hex_of(UNKNOWN_COLOUR),
        }
    ).encode()
    return {name: StaticFile.of(content, suffix=Path(name).suffix) for name, content in found.items()}


def add_console(app: FastAPI) -> None:
    """Add the console's paths. They need no token, because the files contain nothing but the package's content."""
    files = console_files()
    headers = security_headers(CONTENT_SECURITY_POLICY)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def console(request: Request) -> Response:
        return answer_with(files[_INDEX], request, headers=headers)

    @app.api_route("/console/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def console_file(name: str, request: Request) -> Response:
        if name not in files or name == _INDEX:
            raise HTTPException(404, "the console has no such file; it may be of another version: reload the page")
        return answer_with(files[name], request, headers=headers)


def answer_with(file: StaticFile, request: Request, *, headers: dict[str, str]) -> Response:
    """Respond with the file, or with 304 when the browser has it already."""
    headers = headers | {"ETag": file.etag}
    # Compressing proxies turn the ETag into a weak one.
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
