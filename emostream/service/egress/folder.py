"""Finds the files of a job: the matching files under a folder or an object store prefix."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path

from emostream.decode.remote_file import is_remote, list_remote
from emostream.domain.address import file_path, file_url
from emostream.domain.redact import shown_address
from emostream.errors import SourceRejectedError
from emostream.service.egress.policy import SourcePolicy


def find_files(url: str, *, patterns: Sequence[str], policy: SourcePolicy, max_files: int) -> list[str]:
    """URLs of the matching files, sorted by name; blocks.

    Args:
        url: of a folder (`file:///…`) or of a prefix (`s3://…`).
        patterns: shell patterns of file names, case-insensitive.
        policy: checks the folder and each file; files that are not allowed are left out.
        max_files: maximum number of files.

    Raises:
        SourceRejectedError: the folder may not be read, or there are no matching files, or too many.
        SourceUnavailableError: the store cannot be reached.
    """
    policy.check_folder(url)
    lowered = [pattern.lower() for pattern in patterns]
    found = []
    for file in _all_files(url):
        name = file.rpartition("/")[2].lower()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in lowered) and _is_allowed(file, policy):
            found.append(file)
        if len(found) > max_files:
            raise SourceRejectedError(
                f"{shown_address(url)}: more than {max_files} files; choose a smaller folder, or raise "
                "service.max_job_files"
            )
    if not found:
        raise SourceRejectedError(f"{shown_address(url)}: no file matches {', '.join(patterns)}")
    return found


def _all_files(url: str) -> Iterator[str]:
    if is_remote(url):
        yield from list_remote(url)
    elif (folder := file_path(url)) is not None:
        yield from (file_url(str(path)) for path in sorted(Path(folder).rglob("*")) if path.is_file())


def _is_allowed(url: str, policy: SourcePolicy) -> bool:
    try:  # a symbolic link may lead out of the folder
        policy.check(url)
    except SourceRejectedError:
        return False
    return True
