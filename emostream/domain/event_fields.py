"""The fields of events, read from their declarations: what JSON, its checks and tables are made of."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Lt

from emostream.domain.emotion import EmotionScores
from emostream.domain.fields import MAX_EXACT_INTEGER, Digits, Published

T = TypeVar("T")
Conversion = Callable[[Any], Any]


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
        base, metadata = split_hint(hints[declared.name])
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
    return split_hint(hint)[0]


def split_hint(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its bounds, and the bounds."""
    return (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())


def _is_part(base: Any) -> bool:
    return dataclasses.is_dataclass(base) and base is not EmotionScores


def _expression(hint: Any, value: str, conversions: Mapping[Any, Conversion], names: dict[str, Any]) -> str:
    """The expression that writes a value of a type; functions that it calls are added to `names`."""
    base, metadata = split_hint(hint)
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
