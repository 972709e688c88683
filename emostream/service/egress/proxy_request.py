"""Parses requests to an HTTP proxy, and builds the requests to servers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"
MAX_HEAD_BYTES = 1 << 16

_METHODS = (b"GET", b"HEAD")
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*")
# Between client and proxy only; the server's connection serves one request.
_HOP_HEADERS = (b"proxy-authorization", b"proxy-connection", b"connection", b"keep-alive")


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """A request to the proxy.

    Attributes:
        host, port: the destination.
        is_tunnel: whether it requests a tunnel (CONNECT); otherwise it is a plain HTTP request.
        head_for_server: the request head for the server; empty for a tunnel.
        authorization: the proxy login; empty without one.
    """

    host: str
    port: int
    is_tunnel: bool
    head_for_server: bytes = b""
    authorization: bytes = b""


def parse_proxy_request(head: bytes) -> ProxyRequest | None:
    """Parse a request head that ends with an empty line; None when it is invalid or not supported.

    >>> request = parse_proxy_request(b"GET http://camera.example:81/a?b HTTP/1.1\\r\\nAccept: */*\\r\\n\\r\\n")
    >>> request.host, request.port, request.head_for_server
    ('camera.example', 81, b'GET /a?b HTTP/1.1\\r\\nAccept: */*\\r\\nConnection: close\\r\\n\\r\\n')
    """
    first, *lines = head.removesuffix(HEAD_END).split(b"\r\n")
    if not all(_HEADER.fullmatch(line) for line in lines):
        return None
    headers = [(line.partition(b":")[0].strip().lower(), line) for line in lines]
    if _is_injected(headers):
        return None
    try:
        method, target, version = first.split(b" ")
        authorization = next(
            (line.partition(b":")[2].strip() for name, line in headers if name == _HOP_HEADERS[0]), b""
        )
        if method == b"CONNECT":
            parts = urlsplit(f"//{target.decode('ascii')}")
            return _request(parts.hostname, parts.port, is_tunnel=True, authorization=authorization)
        parts = urlsplit(target.decode("ascii"))
        if method not in _METHODS or parts.scheme != "http":
            return None
        path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        kept = [line for name, line in headers if name not in _HOP_HEADERS]
        request_line = b" ".join((method, path.encode("ascii"), version))
        return _request(
            parts.hostname,
            parts.port or 80,
            is_tunnel=False,
            authorization=authorization,
            head_for_server=b"\r\n".join((request_line, *kept, b"Connection: close")) + HEAD_END,
        )
    except ValueError:
        return None


def _is_injected(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a line of FFmpeg's login was broken into several.

    A redirect may name a user with line ends in it, which FFmpeg writes decoded into its digest: the rest of that line,
    with the digest's response, then stands behind another name. The end of the head cannot be moved: the proxy's own
    login comes after it.
    """
    names = [name for name, _ in headers]
    return len(set(names)) < len(names) or any(
        b"response=" in line and not name.endswith(b"authorization") for name, line in headers
    )


def _request(
    host: str | None, port: int | None, *, is_tunnel: bool, authorization: bytes, head_for_server: bytes = b""
) -> ProxyRequest | None:
    if not host or not port:
        return None
    return ProxyRequest(host, port, is_tunnel, head_for_server, authorization)
