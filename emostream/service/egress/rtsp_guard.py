"""Filters RTSP messages, so that a server cannot direct a client to another host.

FFmpeg follows redirects unconditionally, and accepts lines that no server should send. So nothing is forwarded
unchanged: each message is parsed and written again in a form that cannot be read in two ways. This applies to the whole
session; only the content of `$` frames (media) is not inspected.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from emostream.decode.rtsp_login import unknown_algorithm

_LONGEST_LINE_BYTES = 4000  # FFmpeg cuts lines at 4095
_LONGEST_HEAD_BYTES = 1 << 16
_LONGEST_BODY_BYTES = 1 << 20
_FRAME = 0x24  # "$", a channel, two bytes of length
_FRAME_HEAD_BYTES = 4
_LEAST_FRAME_BYTES = 8  # FFmpeg parses the content of a shorter one as text

_STATUS = re.compile(rb"([1-6][0-9][0-9])(?![0-9])(.*)")
_METHOD = re.compile(rb"[A-Z_]{3,20}")
_REQUEST_LINE = re.compile(rb"[A-Z_]{3,20} [ -~\x80-\xff]+ RTSP/[12]\.[0-9]")
# A line that starts with `$` is a frame to FFmpeg, in a head as well: it would skip what the server chooses to hide.
_HEADER = re.compile(rb"([A-Za-z][0-9A-Za-z_.-]*)[ \t]*:[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(rb"[0-9]{1,8}")
_URL = re.compile(rb"[a-z][a-z0-9+.-]*://[^/?#\s;,\"<>]*", re.IGNORECASE)
# FFmpeg skips white space before a line.
_CONTROL_LINE = re.compile(rb"(?im)^([ \t\r]*a=control:[ \t]*)[a-z][a-z0-9+.-]*://[^/?#\s]*")
_ADDRESS_FIELD = re.compile(rb"\s*(source|destination)\s*(=|$)", re.IGNORECASE)
# They direct a client elsewhere. Redirects are not forwarded at all.
_LEADING_AWAY = frozenset({b"location", b"content-location"})
_WITH_URLS = frozenset({b"content-base", b"rtp-info"})


class RtspGuardError(Exception):
    """The connection must be ended; the message gives the reason."""


class RtspRedirectError(RtspGuardError):
    """The server redirects."""


class RtspGuard:
    """Filters both directions between a client and a server; returns complete messages only.

    >>> guard = RtspGuard("127.0.0.1:5000")
    >>> guard.received(b"RTSP/1.0 200 OK\\nContent-Base: rtsp://10.0.0.1/x/\\nCSeq: 1\\n\\nRTSP/1")
    b'RTSP/1.0 200 OK\\r\\nContent-Base: rtsp://127.0.0.1:5000/x/\\r\\nCSeq: 1\\r\\n\\r\\n'
    >>> guard.received(b".0 302 Moved\\r\\nLocation: rtsp://inside/\\r\\n\\r\\n")
    Traceback (most recent call last):
    emostream.service.egress.rtsp_guard.RtspRedirectError: its server redirects, which is not followed; ...

    Args:
        place: host and port that the client connected to. It replaces those that the server names in `Content-Base`,
            `RTP-Info` and control URLs of its description; None leaves them.
        media_from: address that the client may exchange media over UDP with. It replaces the one that the server names
            in `Transport`. None where media use the same connection.
    """

    def __init__(self, place: str | None = None, *, media_from: str | None = None) -> None:
        self._place = None if place is None else b"rtsp://" + place.encode("ascii")
        self._media_from = None if media_from is None else media_from.encode("ascii")
        self._from_client = _Messages(self._checked_request)
        self._from_server = _Messages(self._rewritten_answer, passes_over_noise=True)

    def sent(self, data: bytes) -> bytes:
        """Filter data from the client; returns the data for the server.

        Raises:
            RtspGuardError: it is not a request.
        """
        return self._from_client.take(data)

    def received(self, data: bytes) -> bytes:
        """Filter data from the server; returns the data for the client.

        Raises:
            RtspGuardError: it must not be forwarded.
            RtspRedirectError: the server redirects.
        """
        return self._from_server.take(data)

    def _checked_request(self, first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        """Requests are forwarded as parsed: our client writes valid ones, unless an address injected lines."""
        return _written(first, headers, body)

    def _rewritten_answer(self, first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        kept = [(name, value) for name, value in headers if name.lower() not in _LEADING_AWAY]
        offers = [value for name, value in kept if name.lower() == b"www-authenticate"]
        if not all(map(unknown_algorithm, offers)):  # FFmpeg takes the last of several, whether it knows it or not
            kept = [(name, value) for name, value in kept if value not in offers or not unknown_algorithm(value)]
        if (place := self._place) is not None:
            kept = [(name, _URL.sub(place, value) if name.lower() in _WITH_URLS else value) for name, value in kept]
            body = _CONTROL_LINE.sub(rb"\1" + place, body)
        if (source := self._media_from) is not None:
            kept = [
                (name, _sent_from(value, source) if name.lower() == b"transport" else value) for name, value in kept
            ]
        return _written(first, kept, body)


_Rewrite = Callable[[bytes, list[tuple[bytes, bytes]], bytes], bytes]


class _Messages:
    """One direction of a connection.

    Args:
        rewrite: first line, headers except `Content-Length`, and body of a message → the message to forward.
        passes_over_noise: skip data that is neither message nor frame, which some cameras send between frames. Not
            allowed for clients.
    """

    def __init__(self, rewrite: _Rewrite, *, passes_over_noise: bool = False) -> None:
        self._rewrite = rewrite
        self._passes_over_noise = passes_over_noise
        self._waiting = bytearray()

    def take(self, data: bytes) -> bytes:
        """Add data; returns what is complete now."""
        waiting = self._waiting
        waiting += data
        passed_on = bytearray()
        position = 0  # everything before it is processed
        while (end := self._frames_end(position, passed_on)) < len(waiting):
            position = end
            taken = self._message_at(position)
            if taken is None:
                break
            message, position = taken
            passed_on += message
        else:
            position = end
        del waiting[:position]
        return bytes(passed_on)

    def _frames_end(self, position: int, passed_on: bytearray) -> int:
        """Forward the complete frames from here on; returns where other data starts."""
        waiting, start = self._waiting, position
        while position + _FRAME_HEAD_BYTES <= len(waiting) and waiting[position] == _FRAME:
            length = waiting[position + 2] << 8 | waiting[position + 3]
            end = position + _FRAME_HEAD_BYTES + length
            if end > len(waiting):
                break
            if 0 < length < _LEAST_FRAME_BYTES:
                passed_on += waiting[start:position]
                start = end
            position = end
        passed_on += waiting[start:position]
        return position

    def _message_at(self, position: int) -> tuple[bytes, int] | None:
        """The message that starts here, rewritten, and its end. The message is empty for an empty line and noise; None
        when more data is needed."""
        waiting = self._waiting
        if waiting[position] in b"\r\n":
            return b"", position + 1
        line_end = waiting.find(b"\n", position)
        if waiting[position] == _FRAME or (line_end < 0 and len(waiting) - position <= _LONGEST_LINE_BYTES):
            return None
        first = self._first_line(bytes(waiting[position:line_end])) if line_end >= 0 else None
        if first is None:
            return self._noise(line_end + 1 if line_end >= 0 else len(waiting))
        return self._after_first_line(first, line_end + 1)

    def _after_first_line(self, first: bytes, position: int) -> tuple[bytes, int] | None:
        waiting = self._waiting
        head_end = _head_end(waiting, position)
        if head_end is None:
            if len(waiting) - position > _LONGEST_HEAD_BYTES:
                raise RtspGuardError("it sends RTSP messages without an end")
            return None
        headers, length = _headers(bytes(waiting[position:head_end]), is_strict=not self._passes_over_noise)
        end = head_end + length
        if end > len(waiting):
            return None
        return self._rewrite(first, headers, bytes(waiting[head_end:end])), end

    def _noise(self, end: int) -> tuple[bytes, int]:
        if not self._passes_over_noise:
            raise RtspGuardError("the request to it would not be valid RTSP; check user and password in the URL")
        return b"", end

    def _first_line(self, line: bytes) -> bytes | None:
        """The normalised first line; None when no message starts like this."""
        if not self._passes_over_noise:
            line = line.removesuffix(b"\r")
            return line if _REQUEST_LINE.fullmatch(line) or _answer_line(line.split()) else None
        words = line.replace(b"\r", b"").split()
        if not words or len(line) > _LONGEST_LINE_BYTES:
            return None
        if words[0].startswith(b"RTSP/"):
            return _answer_line(words)
        if words[0] == b"REDIRECT":
            raise _redirect()
        if len(words) == 3 and _METHOD.fullmatch(words[0]) and words[2].startswith(b"RTSP/"):
            return _printable(b" ".join(words))
        return None


def _answer_line(words: list[bytes]) -> bytes | None:
    """The first line of a response. A status that is not a plain number could be read as a redirect."""
    if not words or not words[0].startswith(b"RTSP/"):
        return None
    status = _STATUS.fullmatch(words[1]) if len(words) > 1 else None
    if status is None or status[1].startswith(b"3"):
        raise _redirect()
    return _printable(b" ".join((b"RTSP/1.0", status[1], status[2], *words[2:]))).replace(b"  ", b" ")


def _redirect() -> RtspRedirectError:
    return RtspRedirectError("its server redirects, which is not followed; use the URL that it redirects to")


def _head_end(data: bytearray, position: int) -> int | None:
    """Where the body starts, after the next empty line; None when it has not arrived."""
    while True:
        line_end = data.find(b"\n", position)
        if line_end < 0:
            return None
        if not data[position:line_end].strip(b"\r"):
            return line_end + 1
        position = line_end + 1


def _headers(head: bytes, *, is_strict: bool) -> tuple[list[tuple[bytes, bytes]], int]:
    """The headers without the length, and the length; invalid lines are dropped, or rejected if strict."""
    headers: list[tuple[bytes, bytes]] = []
    lengths: set[bytes] = set()
    for line in head.split(b"\n")[:-1]:
        match = _HEADER.fullmatch(line.replace(b"\r", b"") if not is_strict else line.removesuffix(b"\r"))
        if match is None or len(line) > _LONGEST_LINE_BYTES:
            if is_strict and line.strip(b"\r"):
                raise RtspGuardError("the request to it would not be valid RTSP; check user and password in the URL")
        elif match[1].lower() == b"content-length":
            lengths.add(match[2].strip())
        else:
            headers.append((match[1], match[2].strip()))
    length = lengths.pop() if lengths else b"0"
    if lengths or not _LENGTH.fullmatch(length) or int(length) > _LONGEST_BODY_BYTES:
        raise RtspGuardError("it sends RTSP messages with invalid lengths")
    return headers, int(length)


def _sent_from(transport: bytes, source: bytes) -> bytes:
    """A `Transport` header whose media come from this address."""
    fields = [field for field in transport.partition(b",")[0].split(b";") if not _ADDRESS_FIELD.match(field)]
    return b";".join((*fields, b"source=" + source))


def _written(first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    lines = [first, *(name + b": " + value for name, value in headers)]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join((*lines, b"", body))


def _printable(line: bytes) -> bytes:
    return bytes(byte for byte in line if 0x20 <= byte != 0x7F)
