"""Files in object stores and on file servers, through fsspec: the only file that imports it."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from emostream.domain.address import AddressError, parse_address
from emostream.domain.redact import redact, shown_address
from emostream.errors import SourceError, SourceNotHereError, SourceRejectedError, SourceUnavailableError

SCHEMES = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "hdfs", "webhdfs", "sftp", "ssh", "smb", "oss", "memory"}
)
"""What fsspec reaches and FFmpeg does not. Each needs a package of its own (s3: s3fs, gs: gcsfs, …)."""

_LOGIN_SCHEMES = ("sftp", "ssh", "smb")
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

    try:
        address = parse_address(url)
    except AddressError as exc:
        raise SourceRejectedError(f"cannot open {shown_address(url)}: {exc}") from exc
    if address.login is None or address.scheme not in _LOGIN_SCHEMES:
        return cast("tuple[Any, str]", fsspec.url_to_fs(address.url))
    # fsspec decodes nothing of a URL.
    login = {name: value for name, value in (("username", address.user), ("password", address.password)) if value}
    return cast("tuple[Any, str]", fsspec.url_to_fs(address.without_login().url, **login))


def _error(exc: Exception, url: str) -> SourceError:
    if isinstance(exc, SourceError):
        return exc
    name, reason = shown_address(url), redact(str(exc)) or type(exc).__name__
    if isinstance(exc, ImportError):
        return SourceNotHereError(
            f"cannot open {name}: {reason}; pip install 'emostream[objects]' and the package for its scheme"
        )
    if isinstance(exc, FileNotFoundError):
        return SourceRejectedError(f"cannot open {name}: there is no such file; check the path")
    if isinstance(exc, PermissionError):  # the rights of this process
        return SourceNotHereError(f"cannot open {name}: {reason}")
    if isinstance(exc, ValueError | io.UnsupportedOperation):
        return SourceRejectedError(f"cannot open {name}: {reason}")
    return SourceUnavailableError(f"cannot open {name}: {reason}; check that the store is reachable")
