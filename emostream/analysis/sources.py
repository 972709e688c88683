"""What a caller names → the sources and pictures to read: files, folders, patterns, URLs, cameras by number."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TypeAlias

from emostream.domain.file_names import VIDEO_SUFFIXES
from emostream.domain.stream import StreamKind, StreamSpec, stream_id_from_url, stream_kind_of
from emostream.errors import ConfigError, SourceRejectedError
from emostream.files import files_matching, files_under

Source: TypeAlias = str | os.PathLike[str] | int
"""A video file, a folder of them, a pattern such as `clips/*.mp4`, a URL, or the number of a camera of this machine."""


def list_sources(named: Source | Iterable[Source]) -> list[str]:
    """The paths and URLs of all that is named, in its order; those of a folder or pattern by name, each once.

    Args:
        named: one source or several.

    Raises:
        ConfigError: nothing is named, or it is no name of a source.
        SourceRejectedError: a folder or pattern holds no video.
    """
    each = [named] if isinstance(named, str | os.PathLike | int) else _several(named)
    found: dict[str, None] = {}
    for single in each:
        found |= dict.fromkeys(_sources_of(single))
    if not found:
        raise ConfigError("expected at least one file, URL, folder, pattern or camera number, got an empty list")
    return list(found)


def specs_of(
    urls: Iterable[str],
    *,
    stream_id: str | None = None,
    kind: StreamKind | None = None,
    **options: Any,
) -> list[StreamSpec]:
    """What to read of each source; ids are made of the names, and numbered where two are the same.

    Args:
        urls: of the sources.
        stream_id: in place of the names.
        kind: live or file; None goes by the URL.
        options: further fields of `StreamSpec`, the same for all.

    Raises:
        ConfigError: a value is out of range.
    """
    taken: set[str] = set()
    specs = []
    for url in urls:
        base = stream_id or stream_id_from_url(url)
        chosen, number = base, 1
        while chosen in taken:
            number += 1
            chosen = f"{base[:60]}-{number}"
        taken.add(chosen)
        specs.append(StreamSpec(chosen, url, kind or stream_kind_of(url), **options))
    return specs


def _several(named: Iterable[Source]) -> list[Source]:
    if isinstance(named, bytes | bytearray | memoryview) or not isinstance(named, Iterable):
        raise ConfigError(
            f"expected a file, URL, folder, pattern or camera number, or a list of them, got {type(named).__name__}; "
            "pictures in memory are for emostream.classify"
        )
    return list(named)


def _sources_of(single: Source) -> list[str]:
    if isinstance(single, bool) or not isinstance(single, str | os.PathLike | int):
        raise ConfigError(
            f"expected a file, URL, folder, pattern or camera number, got {type(single).__name__}; "
            "pictures in memory are for emostream.classify"
        )
    if isinstance(single, int):
        return [_camera(single)]
    name = os.fspath(single)
    if "://" in name:
        return [name]
    if (files := files_under(name)) is not None:
        videos = [str(file) for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
        if not videos:
            known = ", ".join(VIDEO_SUFFIXES)
            raise SourceRejectedError(f"{name}: the folder contains no videos, which would end in {known}")
        return videos
    return files_matching(name) or [name]


def _camera(number: int) -> str:
    if number < 0:
        raise ConfigError(f"expected a camera number of 0 or more, got {number}")
    if sys.platform != "linux":
        raise ConfigError(
            f"camera {number}: cameras by number are read on Linux only; on this system give the URL of a camera"
        )
    return f"v4l2:///dev/video{number}"
