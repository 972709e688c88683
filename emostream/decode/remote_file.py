"""Files in object stores and on file servers, through fsspec: the only file that imports it."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from emostream.errors import SourceError, SourceRejectedError, SourceUnavailableError
from emostream.redact import redact

SCHEMES = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "hdfs", "webhdfs", "sftp", "ssh", "smb", "oss", "memory"}
)
"""What fsspec reaches and FFmpeg does not. Each needs a package of its own (s3: s3fs, gs: gcsfs, …)."""

_CACHE_BYTES = 4 << 20  # read at once; every request to an object store takes some 50 ms


def is_remote(url: str) -> bool:
    """Whether a URL names a file that fsspec reads."""
    return url.partition("://")[0].lower() in SCHEMES


def open_remote(url: str) -> BinaryIO:
    """The file, for reading from any position.

    Raises:
        SourceRejectedError: it is not there, may not be read, or a package for its scheme is missing.
        SourceUnavailableError: the store cannot be reached.
    """
    try:
        file_system, path = _file_system(url)
        opened: Any = file_system.open(path, "rb", block_size=_CACHE_BYTES)
        if not opened.seekable():
            raise io.UnsupportedOperation("it can only be read from the beginning")
        return cast(BinaryIO, opened)
    except Exception as exc:  # each store has its own errors
        raise _error(exc, url) from exc


def list_remote(url: str) -> list[str]:
    """The URLs of all files under a prefix, however deep, by name.

    Raises:
        SourceError: as in `open_remote`.
    """
    try:
        file_system, path = _file_system(url)
        return [file_system.unstrip_protocol(name) for name in sorted(file_system.find(path))]
    except Exception as exc:  # each store has its own errors
        raise _error(exc, url) from exc


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec  # an extra

    return cast("tuple[Any, str]", fsspec.url_to_fs(url))


def _error(exc: Exception, url: str) -> SourceError:
    name, reason = redact(url), redact(str(exc)) or type(exc).__name__
    if isinstance(exc, ImportError):
        return SourceRejectedError(
            f"cannot open {name}: {reason}; pip install 'emostream[objects]' and the package for its scheme"
        )
    if isinstance(exc, FileNotFoundError):
        return SourceRejectedError(f"cannot open {name}: there is no such file; check the path")
    if isinstance(exc, PermissionError | ValueError | io.UnsupportedOperation):
        return SourceRejectedError(f"cannot open {name}: {reason}")
    return SourceUnavailableError(f"cannot open {name}: {reason}; check that the store is reachable")
