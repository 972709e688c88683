"""Lists the pictures that a user names: files, URLs, folders, and patterns that the shell did not expand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emostream.domain.address import file_path
from emostream.domain.file_names import PICTURE_SUFFIXES
from emostream.errors import SourceRejectedError
from emostream.files import files_matching, files_under


@dataclass(frozen=True, slots=True)
class PictureList:
    """The pictures to process.

    Attributes:
        names: paths and URLs without duplicates, in the order given; those of a folder sorted by name.
        errors: arguments that are not pictures and contain none.
        num_others: files in the folders without a picture's extension.
    """

    names: tuple[str, ...]
    errors: tuple[SourceRejectedError, ...]
    num_others: int


def list_pictures(named: Sequence[str]) -> PictureList:
    """List the pictures of files, URLs, folders (recursively) and patterns such as `photos/*.jpg`."""
    names: dict[str, None] = {}
    errors: list[SourceRejectedError] = []
    num_others = 0
    for address in named:
        name = file_path(address) or address
        found = [name]
        if (files := files_under(name)) is not None:
            found = [str(file) for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
            num_others += len(files) - len(found)
            if not found:
                errors.append(SourceRejectedError(f"{name}: the folder contains no pictures{_others(len(files))}"))
        elif "://" not in name:
            try:
                found = files_matching(name) or [name]
            except SourceRejectedError as exc:
                errors.append(exc)
                continue
        names |= dict.fromkeys(found)
    return PictureList(tuple(names), tuple(errors), num_others)


def _others(num_files: int) -> str:
    return f", only {num_files} other files" if num_files else ""
