"""One picture as a frame, through the decoder of videos: JPEG, PNG, WebP, AVIF, GIF and whatever else FFmpeg reads."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from emostream.config import DecodeSettings
from emostream.decode.picture_structure import (
    SIGNATURE_BYTES,
    first_of_animation,
    is_known_picture,
    read_picture_structure,
)
from emostream.decode.pyav_source import PyAVSource
from emostream.errors import DecodeError, SourceError, SourceRejectedError
from emostream.frame import Frame
from emostream.redact import redact
from emostream.stream import StreamKind, StreamSpec

PICTURE_ID = "picture"
"""The stream id of a picture's frame and event."""

_MAX_FILE_BYTES = 256 << 20  # larger ones are not read into memory; FFmpeg's own checks hold for them


def picture_spec(url: str) -> StreamSpec:
    """What to read of a picture: one frame; of a video or an animation, the first."""
    return StreamSpec(PICTURE_ID, url, StreamKind.FILE, max_frames=1)


def read_picture(url: str, *, settings: DecodeSettings) -> Frame:
    """The frame of a picture file or URL, upright; it stays valid.

    Raises:
        SourceError: it cannot be opened or decoded; the message says why.
    """
    with open_picture(url, settings=settings) as (source, _), source:
        frame = next(iter(source), None)
    if frame is None:  # opening a file decodes its first picture, so this is hardly ever reached
        raise SourceRejectedError(f"{redact(url)}: expected a picture, got nothing that can be decoded")
    return frame


@contextlib.contextmanager
def open_picture(url: str, *, settings: DecodeSettings) -> Iterator[tuple[PyAVSource, bool]]:
    """A source, not opened yet, of the one frame of a picture file or URL; and whether more follow in the file.

    Raises:
        SourceRejectedError: it has too many pixels, or cannot be opened.
        DecodeError: the end of the file is missing.
    """
    content = _content_of_known_picture(url)
    if content is None:
        yield PyAVSource(picture_spec(url), settings=settings), False
    else:
        with open_picture_content(content, name=redact(url), settings=settings) as opened:
            yield opened


@contextlib.contextmanager
def open_picture_content(content: bytes, *, name: str, settings: DecodeSettings) -> Iterator[tuple[PyAVSource, bool]]:
    """As `open_picture`, of a picture in memory that messages call `name`."""
    structure = read_picture_structure(content)
    if structure.size is not None and structure.size[0] * structure.size[1] > settings.max_frame_pixels:
        width, height = structure.size
        raise SourceRejectedError(
            f"{name}: the picture has {width}×{height} pixels, at most {settings.max_frame_pixels} are accepted; "
            "make it smaller or raise decode.max_frame_pixels"
        )
    if structure.is_cut:
        raise DecodeError(f"{name}: the picture is damaged: its end is missing; give the complete file")
    if structure.is_tiled:
        raise SourceRejectedError(
            f"{name}: the picture is stored in tiles, which are not read; convert it to JPEG or PNG"
        )
    with picture_path(first_of_animation(content)) as path:
        try:
            yield PyAVSource(picture_spec(path), settings=settings), structure.is_animated
        except SourceError as exc:
            raise type(exc)(str(exc).replace(path, name)) from exc


@contextlib.contextmanager
def picture_path(content: bytes) -> Iterator[str]:
    """A path under which FFmpeg finds the picture; in memory where the system can, so that it reaches no disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("picture")
        try:
            with open(descriptor, "wb", closefd=False) as file:  # a descriptor, not a path
                file.write(content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def _content_of_known_picture(url: str) -> bytes | None:
    """The content of a local picture; None for all else, also what cannot be read: its source says why."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme.lower() != "file":
        return None
    path = Path(rest if separator else url)
    try:
        if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            return None
        with path.open("rb") as file:
            start = file.read(SIGNATURE_BYTES)
            return start + file.read() if is_known_picture(start) else None
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
