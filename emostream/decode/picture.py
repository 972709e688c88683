"""One picture as a frame, through the decoder of videos: JPEG, PNG, WebP, AVIF, GIF and whatever else FFmpeg reads."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from emostream.config import DecodeSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.errors import SourceRejectedError
from emostream.frame import Frame
from emostream.redact import redact
from emostream.stream import StreamKind, StreamSpec

PICTURE_ID = "picture"
"""The stream id of a picture's frame and event."""


def picture_spec(url: str) -> StreamSpec:
    """What to read of a picture: one frame; of a video or an animation, the first."""
    return StreamSpec(PICTURE_ID, url, StreamKind.FILE, max_frames=1)


def read_picture(url: str, *, settings: DecodeSettings) -> Frame:
    """The frame of a picture file or URL, upright; it stays valid.

    Raises:
        SourceError: it cannot be opened or decoded; the message says why.
    """
    with PyAVSource(picture_spec(url), settings=settings) as source:
        frame = next(iter(source), None)
    if frame is None:  # opening a file decodes its first picture, so this is hardly ever reached
        raise SourceRejectedError(f"{redact(url)}: expected a picture, got nothing that can be decoded")
    return frame


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
