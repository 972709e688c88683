"""Logins that FFmpeg does not know: of several offers of an RTSP server it takes the last, and of digests it knows MD5.

Newer cameras offer SHA-256 beside MD5. So where a login was refused, the offers are looked at; if FFmpeg knows one of
them, the connection is made through a relay on the loopback address that leaves out the others.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading

from emostream.domain.address import Address

_DEFAULT_PORT = 554
_ACCEPT_SECONDS = 10.0
_CHUNK_BYTES = 1 << 16
_MAX_HEAD_BYTES = 1 << 14
_OFFER = re.compile(rb"^WWW-Authenticate:[ \t]*([^\r\n]*)\r?\n", re.IGNORECASE | re.MULTILINE)
_ALGORITHM = re.compile(rb'algorithm\s*=\s*"?([\w-]+)', re.IGNORECASE)
_REFUSED = re.compile(rb"RTSP/\d\.\d 401\b")


def unknown_algorithm(offer: bytes) -> str:
    """The hash of a digest login that FFmpeg does not know; empty of an offer that it knows.

    >>> unknown_algorithm(b'Digest realm="a", nonce="1", algorithm=SHA-256'), unknown_algorithm(b'Digest nonce="1"')
    ('SHA-256', '')
    """
    found = _ALGORITHM.search(offer)
    if not offer.lower().startswith(b"digest") or found is None or found[1].upper() == b"MD5":
        return ""
    return found[1].decode("ascii").upper()


def offers_of(address: Address, *, timeout_seconds: float) -> list[bytes]:
    """The logins that an RTSP server offers; none where it does not answer."""
    request = f"DESCRIBE {address.without_login().url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    answer = b""
    with contextlib.suppress(OSError), _connected(address, timeout_seconds=timeout_seconds) as connection:
        connection.sendall(request.encode("utf-8", "surrogateescape"))
        while b"\r\n\r\n" not in answer and len(answer) < _MAX_HEAD_BYTES and (data := connection.recv(_CHUNK_BYTES)):
            answer += data
    return _OFFER.findall(answer)


def relay_without_unknown_offers(address: Address, *, timeout_seconds: float) -> Address:
    """The address of a relay to this server, for one connection; it ends with it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(_ACCEPT_SECONDS)
    port: int = listener.getsockname()[1]

    def serve() -> None:
        with contextlib.suppress(OSError), listener:
            client, _ = listener.accept()
            listener.close()
            with client, _connected(address, timeout_seconds=timeout_seconds) as server:
                client.settimeout(None)
                server.settimeout(None)
                sending = threading.Thread(target=_pass_on, args=(client, server), daemon=True)
                sending.start()
                _pass_on(server, client, without_unknown_offers=True)
                sending.join()

    threading.Thread(target=serve, name="emostream-rtsp-login", daemon=True).start()
    return address.at("127.0.0.1", port)


def _connected(address: Address, *, timeout_seconds: float) -> socket.socket:
    return socket.create_connection((address.host, address.port or _DEFAULT_PORT), timeout=timeout_seconds)


def _pass_on(source: socket.socket, target: socket.socket, *, without_unknown_offers: bool = False) -> None:
    """Until one side ends; then the other is closed."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            if without_unknown_offers and _REFUSED.match(data):
                while b"\r\n\r\n" not in data and len(data) < _MAX_HEAD_BYTES and (more := source.recv(_CHUNK_BYTES)):
                    data += more
                data = _OFFER.sub(lambda found: b"" if unknown_algorithm(found[1]) else found[0], data)
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
