"""The fields of events, read from their declarations in `domain/`: what JSON, its checks and tables are made of."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Lt, MaxLen
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, create_model

from emostream.domain.emotion import EmotionScores
from emostream.domain.fields import MAX_EXACT_INTEGER, Digits, Published, Text

T = TypeVar("T")
Conversion = Callable[[Any], Any]

_MAX_OPEN_VALUE_LENGTH = 64


@dataclass(frozen=True, slots=True)
class EventField:
    """One field of an event, or of its faces.

    Attributes:
        name: in JSON.
        path: attribute that holds it, from the event or the face on: `face.score`.
        hint: its type, with its bounds as `Annotated` metadata.
        description: its docstring, on one line.
        is_optional: whether it is left out while it has its default.
        default: of an optional field.
        is_computed: it follows from others, and is not needed to make the object again.
    """

    name: str
    path: str
    hint: Any
    description: str
    is_optional: bool = False
    default: Any = None
    is_computed: bool = False


def fields_of(kind: type) -> tuple[EventField, ...]:
    """The fields of a dataclass in the order of its declaration, optional ones last.

    The fields of a dataclass inside it (the `face` of a `FaceEmotion`) stand in its place.
    """
    hints, texts = get_type_hints(kind, include_extras=True), _docstrings_of(kind)
    found: list[EventField] = []
    for declared in dataclasses.fields(kind):
        base, metadata = _split(hints[declared.name])
        if _is_part(base):
            found += [dataclasses.replace(inner, path=f"{declared.name}.{inner.path}") for inner in fields_of(base)]
            continue
        published = next((item for item in metadata if isinstance(item, Published)), Published())
        has_default = declared.default is not MISSING
        found.append(
            EventField(
                name=published.name or declared.name,
                path=declared.name,
                hint=hints[declared.name],
                description=texts.get(declared.name, ""),
                is_optional=published.is_optional,
                default=declared.default if has_default else (),
                is_computed=not declared.init,
            )
        )
    return tuple(sorted(found, key=lambda item: item.is_optional))


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


def writer_of(
    kind: type,
    *,
    conversions: Mapping[Any, Conversion],
    first: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
) -> Callable[[Any], dict[str, Any]]:
    """The way from a dataclass to what its JSON holds; numbers are rounded as their types say.

    Args:
        kind: the dataclass.
        conversions: how values of some types are written.
        first: what JSON holds before its fields.
        without: names that are left out.

    Returns:
        A function that raises `ValueError` for an integer that JSON cannot hold exactly.
    """
    fields = [item for item in fields_of(kind) if item.name not in without]
    names: dict[str, Any] = {"exact": _exact}
    items = [f"{name!r}: {value!r}" for name, value in (first or {}).items()]
    optional = []
    for item in fields:
        written = _expression(item.hint, f"value.{item.path}", conversions, names)
        if item.is_optional:
            optional.append(f" if value.{item.path} != {item.default!r}: content[{item.name!r}] = {written}\n")
        else:
            items.append(f"{item.name!r}: {written}")
    # Compiled, as the standard library compiles the methods of dataclasses: a loop over the fields took 3.5 µs more per
    # face, 15 % of its encoding.
    source = f"def write(value):\n content = {{{', '.join(items)}}}\n{''.join(optional)} return content\n"
    exec(compile(source, f"<writer of {kind.__name__}>", "exec"), names)  # noqa: S102 - of our own declarations
    writer: Callable[[Any], dict[str, Any]] = names["write"]
    return writer


def base_of(hint: Any) -> Any:
    """A type without its bounds.

    >>> base_of(Annotated[int, Lt(5)])
    <class 'int'>
    """
    return _split(hint)[0]


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())


def _is_part(base: Any) -> bool:
    return dataclasses.is_dataclass(base) and base is not EmotionScores


def _checked(hint: Any, parts: Mapping[type, Any]) -> Any:
    """The type of a field in a model: what JSON holds, converted to what the dataclass holds once it was checked."""
    base, metadata = _split(hint)
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


def _expression(hint: Any, value: str, conversions: Mapping[Any, Conversion], names: dict[str, Any]) -> str:
    """The expression that writes a value of a type; functions that it calls are added to `names`."""
    base, metadata = _split(hint)
    if base in conversions:
        name = f"convert_{len(names)}"
        names[name] = conversions[base]
        return f"{name}({value})"
    for item in metadata:
        if isinstance(item, Digits):
            return f"round({value}, {item.num})"
        if item == Lt(MAX_EXACT_INTEGER):
            return f"exact({value})"
    return _expression_of_parts(base, value, lambda part, each: _expression(part, each, conversions, names))


def _expression_of_parts(base: Any, value: str, inner: Callable[[Any, str], str]) -> str:
    origin, arguments = get_origin(base), get_args(base)
    if origin is dict and (written := inner(arguments[1], "each")) != "each":
        return f"{{name: {written} for name, each in {value}.items()}}"
    if origin is tuple and (written := inner(arguments[0], "each")) != "each":
        return f"[{written} for each in {value}]"
    if origin in (Union, UnionType) and type(None) in arguments and (written := inner(arguments[0], value)) != value:
        return f"None if {value} is None else {written}"
    return value


def _exact(number: int) -> int:
    if number >= MAX_EXACT_INTEGER:
        raise ValueError(f"expected a number below 2⁵³, got {number}")
    return number


def _docstrings_of(kind: type) -> dict[str, str]:
    """The docstrings of a class's attributes, each on one line."""
    body = _classes_of(kind.__module__).get(kind.__name__, [])
    return {
        declared.target.id: " ".join(text.value.value.split())
        for declared, text in pairwise(body)
        if isinstance(declared, ast.AnnAssign)
        and isinstance(declared.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


@functools.cache
def _classes_of(module: str) -> dict[str, list[ast.stmt]]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except OSError:  # installed without its source: descriptions are missing, nothing else
        return {}
    return {item.name: item.body for item in tree.body if isinstance(item, ast.ClassDef)}
