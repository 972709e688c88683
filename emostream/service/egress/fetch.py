"""Brings a small file from an untrusted URL into memory; every address on the way passes the source policy."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urljoin

from emostream.domain.address import Address, file_path
from emostream.domain.redact import redact, shown_address
from emostream.errors import SourceRejectedError, SourceTimeoutError, SourceUnavailableError
from emostream.service.egress.policy import SourcePolicy

_MAX_REDIRECTS = 5
_CHUNK_BYTES = 1 << 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def fetch(url: str, *, policy: SourcePolicy, max_bytes: int, timeout_seconds: float) -> bytes:
    """The content behind an HTTP, HTTPS or file URL; blocks.

    The connection goes to the address that was checked, whatever the name server says later; over HTTPS the
    certificate is checked for the name.

    Args:
        url: where it is.
        policy: asked for the URL and for each one that it redirects to.
        max_bytes: longer content is refused.
        timeout_seconds: for all of it.

    Raises:
        SourceRejectedError: it may not be opened, is too long, or is not there.
        SourceUnavailableError, SourceTimeoutError: it may be there later.
    """
    deadline = time.monotonic() + timeout_seconds
    policy.check(url)
    if (path := file_path(url)) is not None:
        return _read_file(Path(path), name=shown_address(url), max_bytes=max_bytes)
    for _ in range(_MAX_REDIRECTS + 1):
        name = shown_address(url)
        parts = policy.checked(url)
        if parts.scheme not in ("http", "https"):  # a redirect must not lead to files either
            raise SourceRejectedError(f"{name}: a picture is fetched over http, https or from a file")
        content = _get(parts, policy=policy, max_bytes=max_bytes, deadline=deadline, name=name)
        if isinstance(content, bytes):
            return content
        try:
            url = urljoin(parts.url, content)
        except ValueError as exc:
            raise SourceRejectedError(f"{name}: it redirects to what is no URL") from exc
    raise SourceRejectedError(f"{shown_address(url)}: more than {_MAX_REDIRECTS} redirects")


def _read_file(path: Path, *, name: str, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as exc:
        raise SourceRejectedError(f"{name}: cannot be read: {exc.strerror}") from exc
    return _checked(content, name=name, max_bytes=max_bytes)


def _get(parts: Address, *, policy: SourcePolicy, max_bytes: int, deadline: float, name: str) -> bytes | str:
    """The content, or where it is said to be instead."""
    address = (
        policy.address_of(parts.host, name=name),
        parts.port or (443 if parts.scheme == "https" else 80),
    )
    try:
        with (
            socket.create_connection(address, timeout=_left(deadline)) as sock,
            _cut_off(sock, deadline=deadline),
            contextlib.closing(_connection_on(sock, parts)) as connection,
        ):
            connection.request("GET", _target_of(parts), headers=_login(parts))
            response = connection.getresponse()
            if response.status in _REDIRECTS and (location := response.getheader("Location")):
                return location
            if response.status != http.HTTPStatus.OK:
                raise SourceRejectedError(f"{name}: the server answered with HTTP status {response.status}")
            return _checked(_read(response, max_bytes=max_bytes, deadline=deadline), name=name, max_bytes=max_bytes)
    except (OSError, http.client.HTTPException) as exc:
        if isinstance(exc, TimeoutError) or time.monotonic() >= deadline:
            raise SourceTimeoutError(f"{name}: it did not arrive in time") from exc
        raise SourceUnavailableError(f"{name}: cannot be fetched: {redact(str(exc)) or type(exc).__name__}") from exc


@contextlib.contextmanager
def _cut_off(sock: socket.socket, *, deadline: float) -> Iterator[None]:
    """End the connection at the deadline: the time-out of a socket is for each read, so a server that sends a byte now
    and then would never run into it."""
    with sock.dup() as same:  # TLS takes the socket itself over

        def cut() -> None:
            with contextlib.suppress(OSError):  # it has ended already
                same.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(_left(deadline), cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _connection_on(sock: socket.socket, parts: Address) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(parts.host, parts.port or 80)
    # `connect` is never called, so the name is looked up no second time.
    is_tls = parts.scheme == "https"
    connection.sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.host) if is_tls else sock
    return connection


def _target_of(parts: Address) -> str:
    target = quote(parts.rest.partition("#")[0], safe="/%?&=:;+,@!$'()*~[]")
    return target if target.startswith("/") else f"/{target}"


def _login(parts: Address) -> dict[str, str]:
    return {} if parts.login is None else {"Authorization": f"Basic {b64encode(parts.login_bytes).decode()}"}


def _read(response: http.client.HTTPResponse, *, max_bytes: int, deadline: float) -> bytes:
    content = bytearray()
    while len(content) <= max_bytes and (chunk := response.read1(_CHUNK_BYTES)):
        content += chunk
    _left(deadline)  # what was cut off there looks like its end
    return bytes(content)


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _checked(content: bytes, *, name: str, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise SourceRejectedError(f"{name}: longer than {max_bytes} bytes")
    return content
