"""The settings as a page: name, meaning, type, default, bounds, unit and environment variable of each."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from emostream.config import Settings

_UNITS = {
    "_seconds": "seconds",
    "_pixels": "pixels",
    "_bytes": "bytes",
    "_per_second": "per second",
    "_digits": "digits",
    "_share": "share, 0 to 1",
}
_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


class Setting(NamedTuple):
    """One setting, or a whole section where `section` is set."""

    name: str
    field: FieldInfo
    section: type[BaseModel] | None = None


def settings_text() -> str:
    """A heading per section, a heading and a paragraph per setting, and the parts of lists below their settings."""
    lines = ["\n## General\n"]
    lines += [line for setting in all_settings() for line in _lines(setting)]
    lines.append("\n## Parts of lists and mappings\n")
    for model in item_models():
        lines.append(f"\n### {model.__name__}\n\n{inspect.getdoc(model)}\n")
        lines += [_fact_lines(Setting(name, field)) for name, field in model.model_fields.items()]
    return "\n".join(lines)


def all_settings(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Setting]:
    """Sections and settings in the order of the tree; those without sections come first."""
    fields = sorted(model.model_fields.items(), key=lambda item: _section_of(item[1]) is not None)
    for name, field in fields:
        section = _section_of(field)
        yield Setting(f"{prefix}{name}", field, section)
        if section is not None:
            yield from all_settings(section, f"{prefix}{name}.")


def item_models() -> list[type[BaseModel]]:
    """What lists and mappings of settings hold, where that has fields of its own."""
    found = (model for item in all_settings() if item.section is None for model in _models_in(item.field.annotation))
    return list(dict.fromkeys(found))


def unit_of(name: str) -> str:
    """The unit that a name tells; empty where it tells none.

    >>> unit_of("decode.open_timeout_seconds"), unit_of("detect.kind")
    ('seconds', '')
    """
    return next((unit for ending, unit in reversed(_UNITS.items()) if name.endswith(ending)), "")


def type_text(annotation: Any) -> str:  # noqa: PLR0911 - one line for each kind of type
    """A type in the words of a settings file.

    >>> type_text(tuple[float, ...]), type_text(int | None)
    ('list of number', 'integer or null')
    """
    plain = {
        int: "integer",
        float: "number",
        str: "text",
        bool: "true or false",
        Path: "path",
        SecretStr: "text, secret",
    }
    if annotation in plain:
        return plain[annotation]
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    origin: Any = getattr(annotation, "__origin__", None)
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    if hasattr(annotation, "__metadata__"):
        return type_text(origin)
    if origin is tuple:
        is_fixed = Ellipsis not in arguments
        return f"pair of {type_text(arguments[0])}" if is_fixed else f"list of {type_text(arguments[0])}"
    if origin is dict:
        return f"mapping of {type_text(arguments[0])} to {type_text(arguments[1])}"
    if arguments and all(isinstance(value, str) for value in arguments):
        return " or ".join(f"`{value}`" for value in arguments)
    return " or ".join(type_text(value) for value in arguments)


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for value in getattr(annotation, "__args__", ()):
        yield from _models_in(value)


def _lines(setting: Setting) -> Iterator[str]:
    if setting.section is not None:
        level = "#" * (2 + setting.name.count("."))
        yield f"\n{level} `{setting.name}` {{ #{setting.name} }}\n\n{inspect.getdoc(setting.section)}\n"
        return
    variable = f"EMOSTREAM_{setting.name.upper().replace('.', '__')}"
    yield f"\n### `{setting.name}` {{ #{setting.name} }}\n\n{setting.field.description or ''}\n"
    yield (
        "\n".join(f"- **{name}:** {value}" for name, value in [*_facts(setting), ("Environment", f"`{variable}`")])
        + "\n"
    )


def _fact_lines(setting: Setting) -> str:
    facts = "; ".join(f"{name.lower()} {value}" for name, value in _facts(setting))
    return f"- `{setting.name}`: {setting.field.description or ''} ({facts})"


def _facts(setting: Setting) -> list[tuple[str, str]]:
    facts = {
        "Type": type_text(setting.field.annotation),
        "Default": _default_text(setting.field),
        "Bounds": _bounds_text(setting.field),
        "Unit": unit_of(setting.name),
    }
    return [(name, value) for name, value in facts.items() if value]


def _default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "none, must be given"
    if field.default_factory is not None:
        return "depends on the machine"
    value = field.default
    if isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value, default=str)}`"


def _bounds_text(field: FieldInfo) -> str:
    found = []
    for constraint in field.metadata:
        found += [f"{sign} {getattr(constraint, name)}" for name, sign in _BOUNDS.items() if hasattr(constraint, name)]
        if (pattern := getattr(constraint, "pattern", None)) is not None:
            found.append(f"matches `{pattern}`")
        if (least := getattr(constraint, "min_length", None)) is not None:
            found.append(f"length ≥ {least}")
        if (most := getattr(constraint, "max_length", None)) is not None:
            found.append(f"length ≤ {most}")
    return ", ".join(re.sub(r"(?<=\d)\.0$", "", text) for text in found)
