"""Events → flat rows, one per face, for tables and files."""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal, Union, get_args, get_origin

from emostream.domain.emotion import EMOTIONS
from emostream.domain.event import EmotionEvent, FaceEmotion
from emostream.domain.event_content import round_probabilities, rounded_box
from emostream.domain.event_fields import EventField, base_of, fields_of, split_hint
from emostream.domain.fields import Digits
from emostream.errors import ConfigError

Row = dict[str, Any]
"""Column → value; None where a frame has no face."""

LIST_SEPARATOR = ";"
"""Between the entries of `quality` and `zones`."""

_BOX, _BOX_COLUMNS = "box_xyxy", ("x0", "y0", "x1", "y1")


def _scalar_type(hint: Any) -> type | None:
    """What a cell of a field holds; None where the field does not fit in one. Lists of texts become one text."""
    base = base_of(hint)
    origin, arguments = get_origin(base), get_args(base)
    if origin is Literal:
        return type(arguments[0])
    if origin in (Union, types.UnionType):
        return _scalar_type(next(part for part in arguments if part is not type(None)))
    if origin is tuple:
        return str if base_of(arguments[0]) is str or _scalar_type(arguments[0]) is str else None
    return base if base in (bool, int, float, str, datetime) else None


def _cells_of(kind: type) -> dict[str, EventField]:
    return {item.name: item for item in fields_of(kind) if _scalar_type(item.hint) is not None or item.name == _BOX}


_EVENT_CELLS, _FACE_CELLS = _cells_of(EmotionEvent), _cells_of(FaceEmotion)
_LISTS = {name for name, item in _FACE_CELLS.items() if get_origin(base_of(item.hint)) is tuple and name != _BOX}
_event_values = attrgetter(*(item.path for item in _EVENT_CELLS.values()))
_face_values = attrgetter(*(item.path for item in _FACE_CELLS.values()))


def _digits_of(hint: Any) -> int | None:
    """How many digits a number of a field has; None where that is not said."""
    base, metadata = split_hint(hint)
    said = [part.num for part in metadata if isinstance(part, Digits)]
    if get_origin(base) in (Union, types.UnionType):
        said += [num for part in get_args(base) if (num := _digits_of(part)) is not None]
    return said[0] if said else None


_DIGITS = {
    name: num for name, item in (_EVENT_CELLS | _FACE_CELLS).items() if (num := _digits_of(item.hint)) is not None
}

EVENT_COLUMNS = tuple(_EVENT_CELLS)
FACE_COLUMNS = tuple(column for name in _FACE_CELLS for column in (_BOX_COLUMNS if name == _BOX else (name,)))


def types_of_columns() -> dict[str, type]:
    """The type of each column but those of probabilities, which are floats."""
    cells = {name: _scalar_type(item.hint) for name, item in (_EVENT_CELLS | _FACE_CELLS).items()}
    return dict.fromkeys(_BOX_COLUMNS, float) | {name: kind for name, kind in cells.items() if kind is not None}


def columns_of(labels: Sequence[str] = EMOTIONS) -> tuple[str, ...]:
    """The columns of every row, in order: fields of events and faces as they are declared, then probabilities.

    >>> columns_of(["happy"])[-2:]
    ('probability_happy', 'smoothed_happy')
    """
    probabilities = (f"{kind}_{label}" for kind in ("probability", "smoothed") for label in labels)
    return (*EVENT_COLUMNS, *FACE_COLUMNS, *probabilities)


def rounded_row(row: Row, *, labels: Sequence[str] = EMOTIONS) -> Row:
    """A row with as many digits as the JSON of its event has; more would be noise. Probabilities still sum to 1."""
    found = {
        name: round(value, _DIGITS[name]) if name in _DIGITS and value is not None else value
        for name, value in row.items()
    }
    if row["x0"] is not None:
        found.update(zip(_BOX_COLUMNS, rounded_box(tuple(row[name] for name in _BOX_COLUMNS)), strict=True))
        for kind in ("probability", "smoothed"):
            names = [f"{kind}_{label}" for label in labels]
            values = tuple(row[name] for name in names)
            if math.isfinite(sum(values)):
                found.update(zip(names, round_probabilities(values), strict=True))
        found["confidence"] = found.get(f"smoothed_{row['dominant']}", 0.0)  # as written there
    return found


def rows_from_events(events: Iterable[EmotionEvent], *, labels: Sequence[str] = EMOTIONS) -> Iterator[Row]:
    """One row per face; a frame without a face is one row with empty face columns, so that no frame is lost.

    Raises:
        ConfigError: a face has other emotions than `labels`.
    """
    for event in events:
        head: Row = dict(zip(EVENT_COLUMNS, _event_values(event), strict=True))
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
    row: Row = {}
    for name, value in zip(_FACE_CELLS, _face_values(item), strict=True):
        if name == _BOX:
            row.update(zip(_BOX_COLUMNS, value, strict=True))
        else:
            row[name] = LIST_SEPARATOR.join(value) if name in _LISTS else value
    probabilities, smoothed = item.scores.as_dict(), item.smoothed.as_dict()
    return {
        **row,
        **{f"probability_{label}": probabilities[label] for label in labels},
        **{f"smoothed_{label}": smoothed[label] for label in labels},
    }


def labels_of(events: Iterable[EmotionEvent]) -> tuple[str, ...]:
    """The emotions of the first face; the seven of FER2013 when there is none."""
    return next((face.scores.labels for event in events for face in event.faces), EMOTIONS)
