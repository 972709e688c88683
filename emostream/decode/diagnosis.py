"""Why a source cannot be read, asked of its server or of FFmpeg's log where FFmpeg's error does not say."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator

import httpx

from emostream.config import DecodeSettings
from emostream.decode.ffmpeg_log import last_log_line
from emostream.decode.http_client import http_client
from emostream.decode.location import Location
from emostream.decode.rtsp_login import offers_of, unknown_algorithm
from emostream.domain.address import parse_address
from emostream.domain.redact import redact, shown_address

_MAX_SECONDS = 5.0
_BYTES_LOOKED_AT = 4096
_MAX_LEVELS = 3  # of playlists that name playlists: the qualities, one of them, its first segment
# Others cannot be opened again (pipes), may be silent for long (UDP), or are no addresses of FFmpeg's.
_REOPENED_SCHEMES = frozenset({"file", "http", "https", "rtsp", "rtsps", "rtmp", "rtmps"})
_BETWEEN_VALUES = re.compile(r"[=&;#?]")
_MAX_HARMLESS = 3  # letters of a value of a query
_PLAYLIST = b"#EXTM3U"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PAGE = re.compile(rb"\s*(?:<!doctype html|<html|<head|<body)", re.IGNORECASE)
_DRM_IN_PLAYLIST = re.compile(rb"#EXT-X-(?:SESSION-)?KEY:[^\n]*(?:SAMPLE-AES|KEYFORMAT=\"(?!identity))", re.IGNORECASE)


def why_unreadable(location: Location, *, settings: DecodeSettings) -> str:
    """What an HTTP server sends in place of a video, in a sentence; empty where that is not known.

    Asks once more, through the same proxy, for some seconds at most, and reads only the beginning.
    """
    if not location.is_http:
        return ""
    try:
        with _asked(location, settings=settings) as (client, answer):
            start = next(answer.iter_bytes(_BYTES_LOOKED_AT), b"")
            if reason := _what_it_is(answer, start):
                return reason
            is_playlist = settings.references != "none" and start.startswith(_PLAYLIST)
            return _why_no_segment(client, answer.url, start) if is_playlist else ""
    except httpx.ConnectError as exc:
        return _why_not_connected(exc)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return ""


def reader_of(location: Location, *, settings: DecodeSettings) -> str | None:
    """FFmpeg's name of the format of what an HTTP server sends, where its name and type hide it; None where unknown.

    FFmpeg reads playlists only if their name or `Content-Type` says so, and multipart pictures only if the body begins
    with a boundary.
    """
    if not location.is_http:
        return None
    try:
        with _asked(location, settings=settings) as (_, answer):
            if answer.headers.get("Content-Type", "").lower().startswith("multipart/"):
                return "mjpeg"
            start = next(answer.iter_bytes(_BYTES_LOOKED_AT), b"")
            return "hls" if start.startswith(_PLAYLIST) and settings.references != "none" else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None


@contextlib.contextmanager
def _asked(location: Location, *, settings: DecodeSettings) -> Iterator[tuple[httpx.Client, httpx.Response]]:
    """What the server answers, to be read as far as it is needed, and the client that asked."""
    address = parse_address(location.address)
    seconds = min(_MAX_SECONDS, settings.open_timeout_seconds)
    auth = None if address.login is None else httpx.BasicAuth(address.user or "", address.password or "")
    with (
        http_client(settings, auth=auth, timeout_seconds=seconds) as client,
        client.stream("GET", address.without_login().url, headers={"Range": "bytes=0-"}) as answer,
    ):
        yield client, answer


def _what_it_is(answer: httpx.Response, start: bytes) -> str:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if _PLAYLIST in start[: len(_BYTE_ORDER_MARK + _PLAYLIST)]:
        return _what_playlist_it_is(start)
    if kind in ("text/html", "application/xhtml+xml") or _PAGE.match(start):
        led = f"; it was led to {shown_address(str(answer.url))}" if answer.history else ""
        return f"there is a web page, no video{led}; give the address of the stream itself, or log in by its URL"
    if kind == "application/dash+xml" or b"<MPD" in start:
        return "it is an MPEG-DASH description, which is not read; give the HLS playlist or the file"
    if kind in ("application/json", "text/xml", "application/xml", "text/plain"):
        return f"the server sends {kind}, no video; give the address of the stream itself"
    if answer.status_code == httpx.codes.OK and start[4:8] == b"ftyp":
        return (
            "its server sends files only as a whole (no Range), and this one cannot be read from front to back; "
            "download it first, or write it with its index in front (faststart)"
        )
    return ""


def _what_playlist_it_is(start: bytes) -> str:
    if start.startswith(_BYTE_ORDER_MARK):
        return "its playlist begins with a byte order mark, which RFC 8216 forbids; write it without one"
    if _DRM_IN_PLAYLIST.search(start):
        return "it is encrypted (DRM) and cannot be decoded; give an unprotected stream"
    return ""


def _why_no_segment(client: httpx.Client, url: httpx.URL, start: bytes) -> str:
    """Why the first place that a playlist names cannot be read; empty where it can be."""
    for _ in range(_MAX_LEVELS):
        lines = (line.strip() for line in start.splitlines())
        named = next((line for line in lines if line and not line.startswith(b"#")), None)
        if named is None:
            return ""
        url = url.join(named.decode(errors="replace"))
        name = shown_address(str(url))
        try:
            with client.stream("GET", url, headers={"Range": "bytes=0-"}) as answer:
                if answer.is_error:
                    return f"its playlist names {name}, which answers with HTTP status {answer.status_code}"
                start = next(answer.iter_bytes(_BYTES_LOOKED_AT), b"")
                if reason := _what_it_is(answer, start):
                    return f"its playlist names {name}, and {reason}"
        except httpx.ConnectError as exc:
            return f"its playlist names {name}: {_why_not_connected(exc)}"
        if not start.startswith(_PLAYLIST):
            return ""
    return ""


def _why_not_connected(exc: httpx.ConnectError) -> str:
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not valid: {cause.verify_message}; give the name it is made for, or set "
                "decode.verify_tls to false"
            )
        if isinstance(cause, ssl.SSLError):
            return f"no TLS connection comes about: {cause.reason}; is it https, and is the port right?"
        if isinstance(cause, socket.gaierror):
            return "the host is not known; check its name"
        cause = cause.__cause__ or cause.__context__
    return redact(str(exc))


def said_by_ffmpeg(location: Location, *, settings: DecodeSettings) -> str:
    """What FFmpeg logs last about a source that it cannot read, with secrets masked; empty where that is nothing.

    Opens it once more, in a process of its own.
    """
    if location.is_pipe or location.address.partition(":")[0].lower() not in _REOPENED_SCHEMES:
        return ""
    line = last_log_line(
        location.address,
        options=location.options | {"max_pixels": str(settings.max_frame_pixels)},
        format_name=location.format,
        timeout_seconds=min(_MAX_SECONDS, settings.open_timeout_seconds),
    )
    return "" if _holds_secret(line, location.address) else redact(line)


def _holds_secret(line: str, address: str) -> bool:
    """Whether a text has what may be secret in an address: a password, values of its query, a stream key of RTMP."""
    if "://" not in address:
        return False
    parsed = parse_address(address)
    path, _, query = parsed.rest.partition("?")
    passwords = {parsed.password or "", (parsed.login or "").partition(":")[2]} - {""}
    values = [path.rpartition("/")[2]] if parsed.scheme.startswith("rtmp") else []
    values += _BETWEEN_VALUES.split(query)
    return any(text in line for text in passwords | {value for value in values if len(value) > _MAX_HARMLESS})


def why_login_failed(location: Location, *, settings: DecodeSettings) -> str:
    """Of an RTSP server: that it wants a kind of login that FFmpeg does not know; empty where it is another reason."""
    address = parse_address(location.address)
    if address.scheme != "rtsp":
        return ""
    offers = offers_of(address, timeout_seconds=min(_MAX_SECONDS, settings.open_timeout_seconds))
    unknown = [unknown_algorithm(offer) for offer in offers]
    if not unknown or not all(unknown):
        return ""
    return (
        f"the camera asks for a digest login with {unknown[0]}, which FFmpeg does not know; set the camera to MD5 or "
        "basic logins"
    )
