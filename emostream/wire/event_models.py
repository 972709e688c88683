"""Models of the JSON of events: they check what comes in, and the JSON Schema is made of them.

Made of the declarations in `domain/event.py` and `domain/face.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import MaxLen
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, create_model

from emostream.domain.emotion import EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent, SummaryEvent
from emostream.domain.event_fields import fields_of, split_hint
from emostream.domain.fields import Text
from emostream.domain.voice import VoiceEvent

T = TypeVar("T")

_MAX_OPEN_VALUE_LENGTH = 64


def model_of(
    kind: type, name: str, *, parts: Mapping[type, Any] | None = None, first: Mapping[str, Any] | None = None
) -> type[BaseModel]:
    """A model that checks the JSON of a dataclass, and from which the JSON Schema is made.

    Strict: a number in quotes is not a number. Unknown names are ignored, so that later versions may add some.

    Args:
        kind: the dataclass.
        name: of the model in schemas.
        parts: what stands for other dataclasses in its fields.
        first: fields that JSON has before those of the dataclass, as in `pydantic.create_model`.
    """
    definitions = {
        item.name: (
            _checked(item.hint, parts or {}),
            Field(item.default if item.is_optional else ..., description=item.description),
        )
        for item in fields_of(kind)
    }
    config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)
    return create_model(name, __config__=config, __doc__=kind.__doc__, **(dict(first or {}) | definitions))


def reader_of(kind: type[T]) -> Callable[[BaseModel], T]:
    """The way from a checked model to the dataclass that it was made of."""
    own = [(item.path, item.name) for item in fields_of(kind) if "." not in item.path and not item.is_computed]
    hints = get_type_hints(kind)
    parts = []
    for attribute in dict.fromkeys(item.path.partition(".")[0] for item in fields_of(kind) if "." in item.path):
        inner = [(item.path, item.name) for item in fields_of(hints[attribute]) if not item.is_computed]
        parts.append((attribute, hints[attribute], inner))

    def read(model: BaseModel) -> T:
        values = model.__dict__
        made = {path: values[name] for path, name in own}
        for attribute, part, inner in parts:
            made[attribute] = part(**{path: values[name] for path, name in inner})
        return kind(**made)

    return read


def _checked(hint: Any, parts: Mapping[type, Any]) -> Any:
    """The type of a field in a model: what JSON holds, converted to what the dataclass holds once it was checked."""
    base, metadata = split_hint(hint)
    origin, arguments = get_origin(base), get_args(base)
    if base in parts:
        base = parts[base]
    elif base is datetime:
        base = Annotated[AwareDatetime, AfterValidator(_in_utc)]
    elif base is EmotionScores:
        base = Annotated[dict[Text, float], AfterValidator(_scores)]
    elif origin is tuple:
        base = tuple[tuple(item if item is Ellipsis else _checked(item, parts) for item in arguments)]  # type: ignore[misc]
    elif _is_open_list(base):
        # Open lists: a later version may add values, and a reader of this one must not refuse its events.
        known = [value for part in arguments if get_origin(part) is Literal for value in get_args(part)]
        base = Annotated[str, MaxLen(_MAX_OPEN_VALUE_LENGTH), Field(examples=known)]
    return Annotated[(base, *metadata)] if metadata else base


def _is_open_list(base: Any) -> bool:
    return get_origin(base) in (Union, UnionType) and str in get_args(base)


def _in_utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def _scores(by_label: dict[str, float]) -> EmotionScores:
    return EmotionScores(tuple(by_label), tuple(by_label.values()))


# --- the events -------------------------------------------------------------------------------------------------------


def _version(description: str) -> dict[str, Any]:
    return {"schema_version": (Literal[1], Field(description=description))}


FaceWire = model_of(FaceEmotion, "FaceWire")
EventWire = model_of(
    EmotionEvent,
    "EventWire",
    parts={FaceEmotion: Annotated[FaceWire, AfterValidator(reader_of(FaceEmotion))]},
    first=_version("Grows only when a reader of the old version would misunderstand an event."),
)
StatusWire = model_of(StatusEvent, "StatusWire", first=_version("As in an emotion event."))
SummaryWire = model_of(SummaryEvent, "SummaryWire", first=_version("As in an emotion event."))
VoiceWire = model_of(VoiceEvent, "VoiceWire", first=_version("As in an emotion event."))
