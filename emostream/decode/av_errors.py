"""PyAV's errors → ours."""

from __future__ import annotations

import errno
from typing import Any, Literal

from av import error

from emostream.domain.redact import redact
from emostream.domain.stream import StreamKind
from emostream.errors import (
    DecodeError,
    SourceError,
    SourceNotHereError,
    SourceRejectedError,
    SourceTimeoutError,
    SourceUnavailableError,
)

# (PyAV's types, ours, what to say); the first that fits counts.
_RULES: tuple[tuple[tuple[type[Exception], ...], type[SourceError], str], ...] = (
    (
        (error.HTTPUnauthorizedError,),
        SourceRejectedError,
        "login refused (401); check the user name and password in the URL",
    ),
    ((error.HTTPForbiddenError,), SourceRejectedError, "access forbidden (403); check the rights of this user"),
    ((error.HTTPNotFoundError,), SourceRejectedError, "not found (404); check the path in the URL"),
    (
        (error.HTTPTooManyRequestsError, error.HTTPServerError),
        SourceUnavailableError,
        "the server answered with an error",
    ),
    ((error.HTTPClientError,), SourceRejectedError, "the server refused the request; check the URL"),
    (
        (error.ConnectionRefusedError,),
        SourceUnavailableError,
        "connection refused; is it running, and is the port right?",
    ),
    (
        (error.ConnectionResetError, error.ConnectionAbortedError, error.BrokenPipeError),
        SourceUnavailableError,
        "the connection was lost",
    ),
    ((error.FileNotFoundError,), SourceNotHereError, "there is no such file; check the path"),
    ((error.IsADirectoryError,), SourceRejectedError, "there is no such file; check the path"),
    ((error.PermissionError,), SourceNotHereError, "permission denied"),
    (
        (error.ProtocolNotFoundError,),
        SourceRejectedError,
        "this build of FFmpeg has no such protocol, or the source points to another one",
    ),
    ((error.DecoderNotFoundError,), SourceRejectedError, "there is no decoder for its codec"),
)
_LIVE_RULES: tuple[tuple[tuple[type[Exception], ...], type[SourceError], str], ...] = (
    (
        (error.HTTPNotFoundError,),
        SourceUnavailableError,
        "not found (404); it may not have begun yet, or the path in the URL is wrong",
    ),
)
# Of a local file these say something of this machine: its file server is away, it has no descriptor left. (Not EIO and
# ENOMEM: FFmpeg says them of damaged files as well.)
_OF_THIS_MACHINE = frozenset(
    {errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EMFILE, errno.ENFILE}
    | {errno.ENODEV, errno.ENXIO, errno.ENOSPC}
    | ({errno.EREMOTEIO} if hasattr(errno, "EREMOTEIO") else set())  # Linux
)
UNREADABLE = (
    error.InvalidDataError,
    error.ArgumentError,
    error.EOFError,
    error.DemuxerNotFoundError,
    error.PatchWelcomeError,
    error.NotImplementedError,
)
"""PyAV's errors of content that FFmpeg cannot read; they do not say why."""


def source_error(
    exc: error.FFmpegError,
    *,
    name: str,
    doing: Literal["open", "read"],
    kind: StreamKind,
    timeout_seconds: float | None = None,
    waited_seconds: float = 0.0,
) -> SourceError:
    """What `exc` means for the stream; `raise source_error(exc, …) from exc`. Masks credentials in `exc` itself, too.

    Args:
        exc: as PyAV raised it.
        name: the source, credentials masked.
        doing: what failed.
        kind: live sources are tried again where a file is given up: a camera that starts up answers nonsense.
        timeout_seconds: which limit applied; None when none did.
        waited_seconds: how long it took. After the limit, an error without a clear meaning is the time-out in disguise
            (RTSP).
    """
    exc.args = tuple(_redacted(value) for value in exc.args)
    exc.strerror = redact(exc.strerror or type(exc).__name__)
    if reason := _said_of_rtsp(exc, name=name, kind=kind):
        return SourceUnavailableError(f"cannot {doing} {name}: {reason}")
    for types, ours, reason in (_LIVE_RULES if kind is StreamKind.LIVE else ()) + _RULES:
        if isinstance(exc, types):
            return ours(f"cannot {doing} {name}: {reason}")
    is_late = timeout_seconds is not None and waited_seconds >= timeout_seconds
    if is_late or isinstance(exc, (error.ExitError, error.TimeoutError)):
        within = "in time" if timeout_seconds is None else f"within {timeout_seconds:g} s"
        return SourceTimeoutError(
            f"cannot {doing} {name}: no answer {within}; check the address and the network, "
            f"or raise decode.{doing}_timeout_seconds"
        )
    is_local = timeout_seconds is None
    if is_local and exc.errno in _OF_THIS_MACHINE:
        kind_of_error = SourceUnavailableError if doing == "read" else SourceNotHereError
        return kind_of_error(f"cannot {doing} {name}: {exc.strerror}; is its file server away?")
    if kind is StreamKind.FILE and (is_local or isinstance(exc, UNREADABLE)):
        return _unreadable(exc, name=name, doing=doing)
    return SourceUnavailableError(f"cannot {doing} {name}: {exc.strerror}; check that the source is up and reachable")


def _said_of_rtsp(exc: error.FFmpegError, *, name: str, kind: StreamKind) -> str:
    """What errors mean that FFmpeg gives of RTSP servers; empty of others."""
    if exc.errno == errno.EPERM and kind is StreamKind.LIVE:  # its answer when a server dies before its own
        return "the server broke off, or a firewall forbids it"
    if exc.errno == errno.EPROTONOSUPPORT and name.lower().startswith("rtsp"):
        return "the camera sends over UDP only, or over TCP only; change decode.rtsp_transport"
    return ""


def _unreadable(exc: error.FFmpegError, *, name: str, doing: Literal["open", "read"]) -> SourceError:
    if doing == "read":
        return DecodeError(f"cannot read {name} to its end: {exc.strerror}; the pictures before are good")
    return SourceRejectedError(f"cannot open {name}: expected a video that FFmpeg can read, got {exc.strerror!r}")


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    return tuple(_redacted(part) for part in value) if isinstance(value, tuple) else value
