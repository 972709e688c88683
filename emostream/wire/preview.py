"""Pictures of a running stream for people who look: small, a few per second, made only meanwhile, and kept nowhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from emostream.errors import RecordError
from emostream.wire.keys import registry_key

PREVIEW_LIFE_SECONDS = 3.0
"""A worker makes previews for this long after the last viewer's request."""


class PreviewKind(StrEnum):
    """What is done to the picture; each kind that is viewed is made once, for all viewers."""

    PLAIN = "plain"
    """As the camera sees it; clients that have the events can draw boxes over it."""
    BOXES = "boxes"
    """With boxes, track ids and emotions."""
    BLURRED = "blurred"
    """Faces made unrecognisable."""
    BLURRED_BOXES = "blurred-boxes"
    """Both."""
    SMALL = "small"
    """As the camera sees it, for pages that show many streams: few pixels, seldom."""
    SMALL_BLURRED = "small-blurred"
    """The same with faces made unrecognisable."""

    @property
    def has_boxes(self) -> bool:
        """Whether faces are marked."""
        return self in (PreviewKind.BOXES, PreviewKind.BLURRED_BOXES)

    @property
    def is_blurred(self) -> bool:
        """Whether faces are unrecognisable."""
        return self in (PreviewKind.BLURRED, PreviewKind.BLURRED_BOXES, PreviewKind.SMALL_BLURRED)

    @property
    def is_small(self) -> bool:
        """Whether it is one of many on a page."""
        return self in (PreviewKind.SMALL, PreviewKind.SMALL_BLURRED)

    @property
    def max_side(self) -> int:
        """Pixels of the longer side, at most."""
        return 320 if self.is_small else 640

    @property
    def interval_seconds(self) -> float:
        """Between two pictures, at least. Ten a second look fluent; more would take time from the stream itself."""
        return 0.5 if self.is_small else 0.1


_KINDS = {(kind.has_boxes, kind.is_blurred, kind.is_small): kind for kind in PreviewKind}


def preview_kind(*, has_boxes: bool, is_blurred: bool, is_small: bool = False) -> PreviewKind:
    """The kind with these properties; small ones never have boxes.

    >>> preview_kind(has_boxes=True, is_blurred=False).value
    'boxes'
    """
    return _KINDS[has_boxes, is_blurred, is_small]


@dataclass(frozen=True, slots=True)
class PreviewPicture:
    """One picture on its way to the viewers.

    Attributes:
        stream_id, epoch, frame_index: names the frame, as its event does.
        pts_seconds, captured_at: when, as in the event.
        frame_width, frame_height: pixels of the frame that boxes in events are measured in; the picture is smaller.
        jpeg: the picture.
        event_json: the event of the frame (docs/events.md), to draw it with; empty where it did not come along.
    """

    stream_id: str
    epoch: int
    frame_index: int
    pts_seconds: float
    captured_at: datetime
    frame_width: int
    frame_height: int
    jpeg: bytes
    event_json: bytes = b""


def preview_channel(stream_id: str, kind: PreviewKind) -> str:
    """Where the previews of a stream are published; no key: Redis hands them on and forgets them.

    >>> preview_channel("door", PreviewKind.BOXES)
    'emostream:{registry}:preview:door:boxes'
    """
    return registry_key(f"preview:{stream_id}:{kind.value}")


def bytes_from_preview(picture: PreviewPicture) -> bytes:
    """A line of JSON, the event as a line, then the JPEG."""
    head = {
        "stream_id": picture.stream_id,
        "epoch": picture.epoch,
        "frame_index": picture.frame_index,
        "pts_seconds": picture.pts_seconds,
        "captured_at": picture.captured_at.isoformat(),
        "frame_width": picture.frame_width,
        "frame_height": picture.frame_height,
    }
    return b"\n".join((json.dumps(head).encode(), picture.event_json, picture.jpeg))


def preview_from_bytes(message: bytes) -> PreviewPicture:
    """The inverse of `bytes_from_preview`.

    Raises:
        RecordError: it is no preview.
    """
    try:
        head, event_json, jpeg = message.split(b"\n", 2)
        fields = json.loads(head)
        captured_at = datetime.fromisoformat(fields.pop("captured_at"))
        return PreviewPicture(captured_at=captured_at, jpeg=jpeg, event_json=event_json, **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RecordError(f"a message is no preview ({exc}); was it sent by another version?") from exc
