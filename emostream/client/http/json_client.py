"""The HTTP interface as plain JSON, for the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from emostream.client.http.calls import ApiError, Call, Headers
from emostream.client.http.client import ServiceClient

__all__ = ["ApiClient", "ApiError", "with_advice"]

_PAGE = 500


class ApiClient:
    """Streams of a service as the service shows them; arguments and errors of `ServiceClient`."""

    def __init__(self, url: str, *, token: str | None = None, timeout_seconds: float = 10.0) -> None:
        self._client = ServiceClient(url, token=token, timeout_seconds=timeout_seconds)

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add a stream."""
        return dict(self.call("POST", "/v1/streams", body))

    def show(self, stream_id: str) -> dict[str, Any]:
        """One stream."""
        return dict(self.call("GET", f"/v1/streams/{quote(stream_id, safe='')}"))

    def streams(self, *, state: str | None = None) -> Iterator[dict[str, Any]]:
        """All streams, or those in one state."""
        query: dict[str, Any] = {"limit": _PAGE} | ({"state": state} if state else {})
        while True:
            page = self.call("GET", f"/v1/streams?{urlencode(query)}")
            yield from page["streams"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def change(self, stream_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Change a stream in place."""
        return dict(self.call("PATCH", f"/v1/streams/{quote(stream_id, safe='')}", body))

    def retry(self, stream_id: str) -> dict[str, Any]:
        """Retry a failed stream."""
        return dict(self.call("POST", f"/v1/streams/{quote(stream_id, safe='')}/retry"))

    def remove(self, stream_id: str) -> None:
        """Delete a stream."""
        self.call("DELETE", f"/v1/streams/{quote(stream_id, safe='')}")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call; the answer's JSON, None where there is none."""

        def parse(content: bytes, headers: Headers) -> Any:
            return json.loads(content) if content else None

        try:
            return self._client.send(Call(method, path, parse, None if body is None else json.dumps(body).encode()))
        except ApiError as exc:
            raise with_advice(exc) from exc


def with_advice(error: ApiError) -> ApiError:
    """An error as the command line shows it: with the option for a token, where one is required."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        return error.saying(f"{error}: give --token TOKEN, or set EMOSTREAM_SERVICE_TOKEN")
    return error
