"""Which names the interface answers to, and what other web pages may embed of it.

Where no token is needed, a web page could otherwise call the interface through the browser of a user who can reach
it: the page's own name is made to lead here after it was loaded (DNS rebinding), so that the browser takes both for one
origin. Names that cannot be registered on the internet are safe, and so are addresses.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emostream.service.api.problems import problem

# Not in the DNS of the internet: RFC 6761, 6762, 8375, ICANN's reservation of `internal`, names inside Kubernetes.
_INNER_ENDS = (".localhost", ".local", ".home.arpa", ".internal", ".svc", ".cluster.local")

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[\w.-]+)(?::[0-9]{0,5})?", re.ASCII)


class HostNames:
    """The names of this service.

    >>> names = HostNames(["video.example.org", "*.lan.example.org"])
    >>> [names.are_ours(host) for host in ("video.example.org:8000", "[::1]:8000", "a.lan.example.org", "evil.example")]
    [True, True, True, False]

    Args:
        allowed: names, or `*.` and the end of names; `*` allows all.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._names = {name.lower().rstrip(".") for name in allowed} | {socket.gethostname().lower()}
        self._ends = (*_INNER_ENDS, *(name[1:] for name in self._names if name.startswith("*.")))

    def are_ours(self, host: str) -> bool:
        """Whether a `Host` header names this service."""
        if "*" in self._names:
            return True
        parts = _HOST.fullmatch(host.lower())
        if parts is None:
            return False
        name = parts["name"].rstrip(".")
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name.strip("[]"))
            return True
        return name in self._names or "." not in name or name.endswith(self._ends)


class HostGuard:
    """ASGI middleware: refuses requests to other names (421), and marks all answers as not to be embedded by pages of
    other origins.

    Args:
        app: what answers.
        names: of this service; None for any.
        unlimited: paths that are answered under any name.
    """

    def __init__(self, app: ASGIApp, *, names: HostNames | None, unlimited: Collection[str] = ()) -> None:
        self._app = app
        self._names = names
        self._unlimited = unlimited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
                headers.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if self._names is None or scope["path"] in self._unlimited or all(map(self._names.are_ours, hosts)):
            await self._app(scope, receive, marked)
        else:
            detail = "the request is for another host name; the operator can add it to service.allowed_hosts"
            await problem(421, detail, headers={"Connection": "close"})(scope, receive, marked)
