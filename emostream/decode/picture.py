"""One picture as a frame: HEIC, AVIF and TIFF through Pillow, JPEG, PNG, WebP, GIF and whatever else through FFmpeg."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from emostream.config import DecodeSettings
from emostream.decode.formats.picture_structure import (
    PICTURE_CODECS,
    SIGNATURE_BYTES,
    first_of_animation,
    is_known_picture,
    read_picture_structure,
)
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.source import DecodeStats, FrameSource, SourceInfo
from emostream.decode.still_picture import StillPictureSource, is_read_by_pillow
from emostream.domain.address import file_path
from emostream.domain.frame import Frame
from emostream.domain.redact import shown_address
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import DecodeError, SourceError, SourceRejectedError

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
    return read_first_picture(url, settings=settings)[0]


def read_first_picture(url: str, *, settings: DecodeSettings) -> tuple[Frame, bool]:
    """As `read_picture`, and whether more pictures follow in the file (an animation, pages, a video)."""
    with open_picture(url, settings=settings) as (source, is_animated), source:
        frame = next(iter(source), None)
        is_first_of_many = is_animated or (source.info.num_frames or 1) > 1
    if frame is None:  # opening a file decodes its first picture, so this is hardly ever reached
        raise SourceRejectedError(f"{shown_address(url)}: expected a picture, got nothing that can be decoded")
    return frame, is_first_of_many


@contextlib.contextmanager
def open_picture(url: str, *, settings: DecodeSettings) -> Iterator[tuple[FrameSource, bool]]:
    """A source, not opened yet, of the one frame of a picture file or URL; and whether more follow in the file.

    Raises:
        SourceRejectedError: it has too many pixels, or cannot be opened.
        DecodeError: the end of the file is missing.
    """
    content = _content_of_known_picture(url)
    if content is None:
        source = PyAVSource(picture_spec(url), settings=settings, is_picture=True)
        yield _CheckedPicture(source, name=shown_address(url)), False
    else:
        with open_picture_content(content, name=shown_address(url), settings=settings) as opened:
            yield opened


@contextlib.contextmanager
def open_picture_content(
    content: bytes, *, name: str, settings: DecodeSettings, may_be_blank: bool = False
) -> Iterator[tuple[FrameSource, bool]]:
    """As `open_picture`, of a picture in memory that messages call `name`; a camera's may show nothing (at night)."""
    structure = read_picture_structure(content)
    if structure.size is not None and structure.size[0] * structure.size[1] > settings.max_frame_pixels:
        width, height = structure.size
        raise SourceRejectedError(
            f"{name}: the picture has {width}×{height} pixels, at most {settings.max_frame_pixels} are accepted; "
            "make it smaller or raise decode.max_frame_pixels"
        )
    if structure.is_cut:
        raise DecodeError(f"{name}: the picture is damaged: its end is missing; give the complete file")
    if is_read_by_pillow(content):
        still = StillPictureSource(content, stream_id=PICTURE_ID, name=name, settings=settings)
        yield _CheckedPicture(still, name=name, may_be_blank=may_be_blank), False
        return
    with picture_path(first_of_animation(content)) as path:
        source = PyAVSource(picture_spec(path), settings=settings, is_picture=True)
        declared_size = None if structure.is_animated else structure.size
        try:
            checked = _CheckedPicture(source, name=name, declared_size=declared_size, may_be_blank=may_be_blank)
            yield checked, structure.is_animated
        except SourceError as exc:
            raise type(exc)(str(exc).replace(path, name)) from exc


class _CheckedPicture:
    """A source whose picture is what its file declares, and shows something.

    Decoders that do not know how a picture is stored, or lose their way in a damaged one, may give one level everywhere
    or another size without a word. "No face" would be a wrong answer then.

    Args:
        source: of the picture.
        name: what messages call it.
        declared_size: width and height by the file's headers; None when they say nothing that is certain.
        may_be_blank: one level everywhere is no error.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        name: str,
        declared_size: tuple[int, int] | None = None,
        may_be_blank: bool = False,
    ) -> None:
        self._source = source
        self._name = name
        self._declared_size = declared_size
        self._may_be_blank = may_be_blank

    @property
    def kind(self) -> StreamKind:
        """That of the source inside."""
        return self._source.kind

    @property
    def info(self) -> SourceInfo:
        """That of the source inside."""
        return self._source.info

    @property
    def stats(self) -> DecodeStats:
        """Those of the source inside."""
        return self._source.stats

    def __enter__(self) -> Self:
        """Open; raises `SourceError`."""
        self._source.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self._source.__exit__(exc_type, exc, traceback)

    def close(self) -> None:
        """Close the source inside."""
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        """The picture.

        Raises:
            DecodeError: it is not what the file declares, or shows nothing.
        """
        for frame in self._source:
            declared = self._declared_size
            if declared is not None and sorted(declared) != sorted((frame.width, frame.height)):
                raise DecodeError(
                    f"{self._name}: the picture is damaged: expected {declared[0]}×{declared[1]} pixels, got "
                    f"{frame.width}×{frame.height}; give an undamaged file"
                )
            is_checked = self.info.codec in PICTURE_CODECS and not self._may_be_blank
            if is_checked and frame.luma.min() == frame.luma.max():
                raise DecodeError(
                    f"{self._name}: the picture is of one level everywhere: it shows nothing, is damaged, or is of a "
                    "kind that is not read; give another, or convert it to JPEG or PNG"
                )
            yield frame


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
        with tempfile.TemporaryDirectory() as folder:  # Windows opens no file twice that removes itself
            path = Path(folder, "picture")
            path.write_bytes(content)
            yield str(path)


def _content_of_known_picture(url: str) -> bytes | None:
    """The content of a local picture; None for all else, also what cannot be read: its source says why."""
    path = Path(file_path(url) or url)
    try:
        if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            return None
        with path.open("rb") as file:
            start = file.read(SIGNATURE_BYTES)
            return start + file.read() if is_known_picture(start) else None
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
