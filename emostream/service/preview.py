"""Pictures of a running stream for people who look: small, a few per second, made only meanwhile, and kept nowhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from emostream.errors import EventRejectedError
from emostream.publish.keys import registry_key

PREVIEW_LIFE_SECONDS = 3.0
"""A worker makes previews for this long after somebody said to be looking."""


class PreviewKind(StrEnum):
    """What is done to the picture; each kind that somebody looks at is made once, for all who look."""

    PLAIN = "plain"
    """As the camera sees it; whoever has the events can draw boxes over it."""
    BOXES = "boxes"
    """With boxes, track ids and emotions."""
    BLURRED = "blurred"
    """Faces made unrecognisable."""
    BLURRED_BOXES = "blurred-boxes"
    """Both."""

    @property
    def has_boxes(self) -> bool:
        """Whether faces are marked."""
        return self in (PreviewKind.BOXES, PreviewKind.BLURRED_BOXES)

    @property
    def is_blurred(self) -> bool:
        """Whether faces are unrecognisable."""
        return self in (PreviewKind.BLURRED, PreviewKind.BLURRED_BOXES)


def preview_kind(*, has_boxes: bool, is_blurred: bool) -> PreviewKind:
    """The kind with these properties.

    >>> preview_kind(has_boxes=True, is_blurred=False).value
    'boxes'
    """
    return next(kind for kind in PreviewKind if (kind.has_boxes, kind.is_blurred) == (has_boxes, is_blurred))


@dataclass(frozen=True, slots=True)
class PreviewPicture:
    """One picture on its way to whoever looks.

    Attributes:
        stream_id, epoch, frame_index: names the frame, as its event does.
        pts_seconds, captured_at: when, as in the event.
        frame_width, frame_height: pixels of the frame that boxes in events are measured in; the picture is smaller.
        jpeg: the picture.
    """

    stream_id: str
    epoch: int
    frame_index: int
    pts_seconds: float
    captured_at: datetime
    frame_width: int
    frame_height: int
    jpeg: bytes


def preview_channel(stream_id: str, kind: PreviewKind) -> str:
    """Where the previews of a stream are published; no key: Redis hands them on and forgets them.

    >>> preview_channel("door", PreviewKind.BOXES)
    'emostream:{registry}:preview:door:boxes'
    """
    return registry_key(f"preview:{stream_id}:{kind.value}")


def bytes_from_preview(picture: PreviewPicture) -> bytes:
    """A line of JSON, then the JPEG."""
    head = {
        "stream_id": picture.stream_id,
        "epoch": picture.epoch,
        "frame_index": picture.frame_index,
        "pts_seconds": picture.pts_seconds,
        "captured_at": picture.captured_at.isoformat(),
        "frame_width": picture.frame_width,
        "frame_height": picture.frame_height,
    }
    return json.dumps(head).encode() + b"\n" + picture.jpeg


def preview_from_bytes(message: bytes) -> PreviewPicture:
    """The inverse of `bytes_from_preview`.

    Raises:
        EventRejectedError: it is no preview.
    """
    head, newline, jpeg = message.partition(b"\n")
    try:
        fields = json.loads(head)
        captured_at = datetime.fromisoformat(fields.pop("captured_at"))
        if not newline:
            raise ValueError("there is no picture in it")
        return PreviewPicture(captured_at=captured_at, jpeg=jpeg, **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EventRejectedError(f"a message is no preview ({exc}); was it sent by another version?") from exc
