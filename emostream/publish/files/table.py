"""Events → flat rows, one per face, for tables and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from emostream.domain.emotion import EMOTIONS
from emostream.domain.event import EmotionEvent, FaceEmotion
from emostream.errors import ConfigError

Row = dict[str, Any]
"""Column → value; None where a frame has no face."""

EVENT_COLUMNS = ("stream_id", "epoch", "frame_index", "pts_seconds", "captured_at", "num_dropped", "model_version")
FACE_COLUMNS = (
    "track_id",
    "x0",
    "y0",
    "x1",
    "y1",
    "score",
    "found_by",
    "dominant",
    "confidence",
    "quality",
    "zones",
)
LIST_SEPARATOR = ";"
"""Between the entries of `quality` and `zones`."""


def columns_of(labels: Sequence[str] = EMOTIONS) -> tuple[str, ...]:
    """The columns of every row, in order.

    >>> columns_of(["happy"])[-2:]
    ('probability_happy', 'smoothed_happy')
    """
    probabilities = (f"{kind}_{label}" for kind in ("probability", "smoothed") for label in labels)
    return (*EVENT_COLUMNS, *FACE_COLUMNS, *probabilities)


def rows_from_events(events: Iterable[EmotionEvent], *, labels: Sequence[str] = EMOTIONS) -> Iterator[Row]:
    """One row per face; a frame without a face is one row with empty face columns, so that no frame is lost.

    Raises:
        ConfigError: a face has other emotions than `labels`.
    """
    for event in events:
        head: Row = {name: getattr(event, name) for name in EVENT_COLUMNS}
        if not event.faces:
            yield head | dict.fromkeys(columns_of(labels)[len(EVENT_COLUMNS) :])
        for face in event.faces:
            yield head | _face_columns(face, labels)


def _face_columns(item: FaceEmotion, labels: Sequence[str]) -> Row:
    if set(item.scores.labels) != set(labels) or set(item.smoothed.labels) != set(labels):
        raise ConfigError(
            f"expected the emotions {', '.join(labels)}, got {', '.join(item.scores.labels)}; export the streams or "
            "times of another model by themselves"
        )
    probabilities, smoothed = item.scores.as_dict(), item.smoothed.as_dict()
    face = item.face
    return {
        "track_id": face.track_id,
        **dict(zip(("x0", "y0", "x1", "y1"), face.box_xyxy, strict=True)),
        "score": face.score,
        "found_by": face.found_by,
        "dominant": item.dominant,
        "confidence": item.confidence,
        "quality": LIST_SEPARATOR.join(item.quality),
        "zones": LIST_SEPARATOR.join(item.zones),
        **{f"probability_{label}": probabilities[label] for label in labels},
        **{f"smoothed_{label}": smoothed[label] for label in labels},
    }


def labels_of(events: Iterable[EmotionEvent]) -> tuple[str, ...]:
    """The emotions of the first face; the seven of FER2013 when there is none."""
    return next((face.scores.labels for event in events for face in event.faces), EMOTIONS)
