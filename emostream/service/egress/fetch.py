"""Downloads a small file from an untrusted URL to memory, checking every address against the source policy."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
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
    """Download the content of an HTTP, HTTPS or file URL; blocks.

    Connects to the address that was checked, even if the name resolves differently later; with HTTPS the certificate is
    checked against the name.

    Args:
        url: the URL.
        policy: checks the URL and each redirect.
        max_bytes: longer content is rejected.
        timeout_seconds: limit of the total time.

    Raises:
        SourceRejectedError: it may not be opened, is too long, or does not exist.
        SourceUnavailableError, SourceTimeoutError: it may be available later.
    """
    deadline = time.monotonic() + timeout_seconds
    policy.check(url)
    if (path := file_path(url)) is not None:
        return _read_file(Path(path), name=shown_address(url), max_bytes=max_bytes)
    for _ in range(_MAX_REDIRECTS + 1):
        name = shown_address(url)
        parts = policy.checked(url)
        if parts.scheme not in ("http", "https"):  # a redirect must not lead to a file
            raise SourceRejectedError(f"{name}: only http, https and file URLs are supported for pictures")
        content = _get(parts, policy=policy, max_bytes=max_bytes, deadline=deadline, name=name)
        if isinstance(content, bytes):
            return content
        try:
            url = urljoin(parts.url, content)
        except ValueError as exc:
            raise SourceRejectedError(f"{name}: it redirects to an invalid URL") from exc
    raise SourceRejectedError(f"{shown_address(url)}: more than {_MAX_REDIRECTS} redirects")


def _read_file(path: Path, *, name: str, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as exc:
        raise SourceRejectedError(f"{name}: cannot be read: {exc.strerror}") from exc
    return _checked(content, name=name, max_bytes=max_bytes)


def _get(parts: Address, *, policy: SourcePolicy, max_bytes: int, deadline: float, name: str) -> bytes | str:
    """The content, or the URL of a redirect."""
    addresses = policy.addresses_of(parts.host, name=name)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with (
            _connect(addresses, port, deadline=deadline) as sock,
            _cut_off(sock, deadline=deadline),
            contextlib.closing(_connection_on(sock, parts)) as connection,
        ):
            connection.request("GET", _target_of(parts), headers=_login(parts))
            response = connection.getresponse()
            if response.status in _REDIRECTS and (location := response.getheader("Location")):
                return location
            if response.status != http.HTTPStatus.OK:
                raise SourceRejectedError(f"{name}: the server responded with HTTP status {response.status}")
            return _checked(_read(response, max_bytes=max_bytes, deadline=deadline), name=name, max_bytes=max_bytes)
    except (OSError, http.client.HTTPException) as exc:
        if isinstance(exc, TimeoutError) or time.monotonic() >= deadline:
            raise SourceTimeoutError(f"{name}: the download timed out") from exc
        raise SourceUnavailableError(f"{name}: cannot be fetched: {redact(str(exc)) or type(exc).__name__}") from exc


def _connect(addresses: Sequence[str], port: int, *, deadline: float) -> socket.socket:
    """Connect to the first address that answers, each within its share of the time."""
    for num_left in range(len(addresses), 1, -1):
        with contextlib.suppress(OSError):
            seconds = _left(deadline)
            sock = socket.create_connection((addresses[-num_left], port), timeout=seconds / num_left)
            sock.settimeout(seconds)
            return sock
    return socket.create_connection((addresses[-1], port), timeout=_left(deadline))


@contextlib.contextmanager
def _cut_off(sock: socket.socket, *, deadline: float) -> Iterator[None]:
    """Shut the connection down at the deadline: a socket's time-out applies to each read, so a server that sends a byte
    now and then would never exceed it."""
    with sock.dup() as same:  # TLS takes the socket itself over

        def cut() -> None:
            with contextlib.suppress(OSError):  # already closed
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
    # `connect` is never called, so the name is not resolved again.
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
    _left(deadline)  # a connection cut at the deadline looks like the end of the content
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
