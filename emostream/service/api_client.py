"""Speaks the HTTP interface from plain code, with the standard library alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from emostream.errors import ConfigError, EmostreamError, SinkUnavailableError
from emostream.redact import redact

_PAGE = 500


class ApiError(EmostreamError):
    """The service refused a call; `status` is the HTTP status."""


class ApiClient:
    """Streams of a service.

    Args:
        url: of the service, for example `http://localhost:8000`.
        token: bearer token, where the service asks for one.
        timeout_seconds: bound on waiting for an answer.

    Raises:
        ConfigError: the URL is not one of HTTP.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_seconds: float = 10.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(f"service URL {redact(url)} is not usable; expected for example http://localhost:8000")
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._timeout_seconds = timeout_seconds

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for a stream; returns it as the service shows it. Raises as `call`."""
        return dict(self.call("POST", "/v1/streams", body))

    def show(self, stream_id: str) -> dict[str, Any]:
        """One stream. Raises as `call`."""
        return dict(self.call("GET", f"/v1/streams/{quote(stream_id, safe='')}"))

    def streams(self, *, state: str | None = None) -> Iterator[dict[str, Any]]:
        """All streams, or those in one state. Raises as `call`."""
        query: dict[str, Any] = {"limit": _PAGE} | ({"state": state} if state else {})
        while True:
            page = self.call("GET", f"/v1/streams?{urlencode(query)}")
            yield from page["streams"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def change(self, stream_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Change a stream in place. Raises as `call`."""
        return dict(self.call("PATCH", f"/v1/streams/{quote(stream_id, safe='')}", body))

    def remove(self, stream_id: str) -> None:
        """Ask for a stream no more. Raises as `call`."""
        self.call("DELETE", f"/v1/streams/{quote(stream_id, safe='')}")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call; the answer's JSON, None where there is none.

        Raises:
            ApiError: the service refused it, and says why.
            SinkUnavailableError: nobody answers.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers, method=method)  # noqa: S310  # checked
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_seconds) as response:  # noqa: S310
                content = response.read()
        except urllib.error.HTTPError as exc:
            with exc:
                raise ApiError(_detail_of(exc), status=exc.code) from exc
        except OSError as exc:
            reason = getattr(exc, "reason", exc)
            raise SinkUnavailableError(
                f"the service at {redact(self._url)} cannot be reached: {reason}; is `emostream serve` running?"
            ) from exc
        return json.loads(content) if content else None


def _detail_of(exc: urllib.error.HTTPError) -> str:
    """What the service says, or the status where something else answered."""
    try:
        return str(json.loads(exc.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the service answered with HTTP status {exc.code}"
