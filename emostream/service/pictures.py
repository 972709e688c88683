"""The faces of one picture, through the same pipeline as a stream."""

from __future__ import annotations

from collections.abc import Sequence

from emostream.assembly import Models, build_pipeline, new_epoch
from emostream.config import Settings
from emostream.decode.picture import picture_path, picture_spec
from emostream.errors import SourceRejectedError
from emostream.event import EmotionEvent, StatusEvent


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
    with picture_path(content) as path:
        spec = picture_spec(path)
        try:
            await build_pipeline(spec, settings=settings, models=models, sink=sink, epoch=new_epoch()).run()
        except SourceRejectedError as exc:
            raise SourceRejectedError(str(exc).replace(path, "the picture")) from exc
    if sink.event is None:
        raise SourceRejectedError("expected a picture, got nothing that can be decoded")
    return sink.event
