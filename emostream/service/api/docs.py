"""Documentation of the interface at `/docs`: Swagger UI from an installed package, and nothing of any other host.

The framework's own page loads scripts from a CDN: it is blank without the internet, and runs foreign scripts at the
origin of the console, which holds a token.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response

from emostream.errors import ConfigError
from emostream.service.console.pages import StaticFile, answer_with, security_headers

_PACKAGE = "fastapi_offline"
_BUNDLE, _STYLE, _START = "swagger-ui-bundle.js", "swagger-ui.css", "start.js"

_PAGE = f"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>emostream: the interface</title>
  <link rel="icon" href="console/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="docs/{_STYLE}">
</head>
<body>
  <div id="swagger-ui"><noscript>openapi.json has the same for programs.</noscript></div>
  <script src="docs/{_BUNDLE}"></script>
  <script src="docs/{_START}"></script>
</body>
</html>
"""

# `validatorUrl`: it would send the address of this service to a validator on the internet.
_SCRIPT = """"use strict";
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # Swagger UI has pictures in its styles
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page may load and ask this service only."""


def docs_files() -> dict[str, StaticFile]:
    """The files below `/docs/`, and the page itself under the name of nothing.

    Raises:
        ConfigError: the package with Swagger UI is not there.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # importing it would change nothing, and costs time
    if spec is None or spec.origin is None:
        raise ConfigError("the interface needs the package fastapi-offline: pip install 'emostream[serve]'")
    folder = Path(spec.origin).parent / "static"
    return {
        "": StaticFile.of(_PAGE.encode(), suffix=".html"),
        _START: StaticFile.of(_SCRIPT.encode(), suffix=".js"),
        _BUNDLE: StaticFile.of((folder / _BUNDLE).read_bytes(), suffix=".js"),
        _STYLE: StaticFile.of((folder / _STYLE).read_bytes(), suffix=".css"),
    }


def add_docs(app: FastAPI) -> None:
    """The paths. No token is needed: what the interface can do is no secret."""
    files = docs_files()
    headers = security_headers(CONTENT_SECURITY_POLICY)

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def docs(request: Request) -> Response:
        return answer_with(files[""], request, headers=headers)

    @app.api_route("/docs/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def docs_file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, "the documentation has no such file; load the page again")
        return answer_with(files[name], request, headers=headers)
