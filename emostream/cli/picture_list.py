"""Lists the pictures that a user names: files, URLs, folders, and patterns that the shell did not expand."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emostream.domain.address import file_path
from emostream.errors import SourceRejectedError

SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".jxl",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
"""File name extensions of pictures in a folder; a file that is named explicitly may have any."""


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
        path = Path(name)
        if _is_folder(path):
            files = sorted(file for file in path.rglob("*") if file.is_file())
            found = [str(file) for file in files if file.suffix.lower() in SUFFIXES]
            num_others += len(files) - len(found)
            if not found:
                errors.append(SourceRejectedError(f"{name}: the folder contains no pictures{_others(len(files))}"))
        elif glob.has_magic(name) and "://" not in name and not path.exists():
            found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  # Path.glob rejects absolute patterns
            if not found:
                errors.append(SourceRejectedError(f"{name}: no file matches this pattern"))
        else:
            found = [name]
        names |= dict.fromkeys(found)
    return PictureList(tuple(names), tuple(errors), num_others)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


def _others(num_files: int) -> str:
    return f", only {num_files} other files" if num_files else ""
