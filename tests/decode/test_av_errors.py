"""Each of PyAV's errors becomes one of ours, with credentials masked everywhere."""

from __future__ import annotations

import errno
import traceback

import pytest
from av import error

from emostream.decode.av_errors import source_error
from emostream.domain.stream import StreamKind
from emostream.errors import (
    DecodeError,
    SourceError,
    SourceNotHereError,
    SourceRejectedError,
    SourceTimeoutError,
    SourceUnavailableError,
)

URL = "rtsp://admin:hunter2@camera/1?token=hunter2"
LIVE, FILE = StreamKind.LIVE, StreamKind.FILE


@pytest.mark.parametrize(
    ("raised", "kind", "expected", "said"),
    [
        (error.HTTPUnauthorizedError, LIVE, SourceRejectedError, "401"),
        (error.HTTPForbiddenError, LIVE, SourceRejectedError, "403"),
        (error.HTTPNotFoundError, LIVE, SourceUnavailableError, "404"),
        (error.HTTPNotFoundError, FILE, SourceRejectedError, "404"),
        (error.HTTPBadRequestError, FILE, SourceRejectedError, "refused the request"),
        (error.HTTPTooManyRequestsError, LIVE, SourceUnavailableError, "answered with an error"),
        (error.HTTPServerError, LIVE, SourceUnavailableError, "answered with an error"),
        (error.ConnectionRefusedError, LIVE, SourceUnavailableError, "connection refused"),
        (error.ConnectionResetError, LIVE, SourceUnavailableError, "connection was lost"),
        (error.ExitError, LIVE, SourceTimeoutError, "no answer within 4 s"),
        (error.TimeoutError, FILE, SourceTimeoutError, "no answer within 4 s"),
        (error.ProtocolNotFoundError, FILE, SourceRejectedError, "protocol"),
        (error.DecoderNotFoundError, FILE, SourceRejectedError, "decoder"),
        (error.PermissionError, FILE, SourceNotHereError, "permission denied"),
        (error.InvalidDataError, FILE, SourceRejectedError, "expected a video that FFmpeg can read"),
        (error.InvalidDataError, LIVE, SourceUnavailableError, "reachable"),
        (error.EOFError, FILE, SourceRejectedError, "expected a video"),
        (error.OSError, LIVE, SourceUnavailableError, "reachable"),
        (error.OSError, FILE, SourceUnavailableError, "reachable"),
        (error.UndefinedError, LIVE, SourceUnavailableError, "reachable"),
    ],
)
def test_translates(raised: type[error.FFmpegError], kind: StreamKind, expected: type[SourceError], said: str) -> None:
    log = (16, "rtsp", f"method DESCRIBE failed: {URL}")
    exc = raised(errno.EIO, f"failed at {URL}", URL, log)  # type: ignore[arg-type]
    translated = source_error(exc, name="rtsp://***@camera/1", doing="open", kind=kind, timeout_seconds=4.0)
    assert type(translated) is expected
    assert said in str(translated)
    assert str(translated).startswith("cannot open rtsp://***@camera/1: ")
    try:
        raise translated from exc
    except SourceError as caught:
        assert "hunter2" not in "".join(traceback.format_exception(caught))


@pytest.mark.parametrize(
    ("raised", "waited_seconds", "expected"),
    [
        (error.InvalidDataError, 4.1, SourceTimeoutError),
        (error.InvalidDataError, 0.1, SourceUnavailableError),
        (error.HTTPUnauthorizedError, 4.1, SourceRejectedError),
    ],
)
def test_a_late_error_without_meaning_is_a_timeout(
    raised: type[error.FFmpegError], waited_seconds: float, expected: type[SourceError]
) -> None:
    translated = source_error(
        raised(errno.EIO, "bad"), name="n", doing="read", kind=LIVE, timeout_seconds=4.0, waited_seconds=waited_seconds
    )
    assert type(translated) is expected


def test_a_camera_that_sends_in_another_way() -> None:
    exc = error.OSError(errno.EPROTONOSUPPORT, "Protocol not supported", "x")
    translated = source_error(exc, name="rtsp://camera/1", doing="open", kind=LIVE, timeout_seconds=4.0)
    assert type(translated) is SourceUnavailableError
    assert "decode.rtsp_transport" in str(translated)


def test_a_local_file_is_never_unreachable() -> None:
    opening = source_error(error.OSError(errno.EIO, "bad"), name="n", doing="open", kind=FILE)
    reading = source_error(error.OSError(errno.EIO, "bad"), name="n", doing="read", kind=FILE)
    assert (type(opening), type(reading)) == (SourceRejectedError, DecodeError)
