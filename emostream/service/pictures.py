"""The faces of one picture, through the same pipeline as a stream."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence

from emostream.assembly import Models, build_pipeline, new_epoch
from emostream.config import Settings
from emostream.errors import SourceRejectedError
from emostream.event import EmotionEvent, StatusEvent
from emostream.stream import StreamKind, StreamSpec

PICTURE_ID = "picture"
"""The stream id in the event of a picture."""


class _OneEvent:
    """A sink that keeps the last event."""

    def __init__(self) -> None:
        self.event: EmotionEvent | None = None

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Keep the last."""
        self.event = events[-1] if events else self.event

    async def publish_status(self, event: StatusEvent) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""


async def event_of_picture(content: bytes, *, settings: Settings, models: Models) -> EmotionEvent:
    """The event for a picture in any format FFmpeg knows (of a video: for its first frame).

    Raises:
        SourceRejectedError: it is no picture.
        ModelError: it could not be classified.
    """
    if not content:
        raise SourceRejectedError("expected a picture, got an empty body")
    sink = _OneEvent()
    with _path_of(content) as path:
        spec = StreamSpec(PICTURE_ID, path, StreamKind.FILE, max_frames=1)
        try:
            await build_pipeline(spec, settings=settings, models=models, sink=sink, epoch=new_epoch()).run()
        except SourceRejectedError as exc:
            raise SourceRejectedError(str(exc).replace(path, "the picture")) from exc
    if sink.event is None:
        raise SourceRejectedError("expected a picture, got nothing that can be decoded")
    return sink.event


@contextlib.contextmanager
def _path_of(content: bytes) -> Iterator[str]:
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
