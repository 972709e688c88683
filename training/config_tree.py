"""Settings trees: nested dataclasses from plain mappings and back, with every key and type checked."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

import yaml

from emostream.errors import ConfigError

T = TypeVar("T")


def plain_values(value: Any) -> Any:
    """Tuples become lists, at every depth: what YAML can hold."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain_values(item) for item in value]
    return value


def differences(one: dict[str, Any], other: dict[str, Any], *, where: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted key, value in `one`, value in `other`) of every setting that is not the same in both, in order.

    >>> differences({"seed": 0, "optim": {"epochs": 3}}, {"seed": 0, "optim": {"epochs": 5}})
    [('optim.epochs', 3, 5)]
    """
    found: list[tuple[str, Any, Any]] = []
    for key in [*one, *(key for key in other if key not in one)]:
        first, second = one.get(key), other.get(key)
        if isinstance(first, dict) and isinstance(second, dict):
            found += differences(first, second, where=f"{where}{key}.")
        elif first != second:
            found.append((f"{where}{key}", first, second))
    return found


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Put `section.key=value` into the tree; the value is read as YAML.

    Raises:
        ConfigError: it is not of that form, or a section on the way is a value.
    """
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"expected an override of the form section.key=value, got {override!r}")
    *sections, leaf = key.split(".")
    node = tree
    for section in sections:
        node = node.setdefault(section, {})
        if not isinstance(node, dict):
            raise ConfigError(f"override {override!r}: {section} is a value, not a section")
    try:
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"override {override!r}: {text!r} is not a YAML value") from exc


def build_settings(cls: type[T], tree: dict[str, Any], *, where: str = "") -> T:
    """A dataclass from a mapping of what differs from its defaults; `where` is the dotted key so far, for messages.

    Raises:
        ConfigError: unknown key, or a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(tree) - set(hints))
    if unknown:
        raise ConfigError(f"unknown setting {where}{unknown[0]}; known here: {', '.join(hints)}")
    values: dict[str, Any] = {}
    for key, value in tree.items():
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise ConfigError(f"setting {where}{key} is a section, got {value!r}")
            values[key] = build_settings(typing.cast("type[Any]", hint), value, where=f"{where}{key}.")
        else:
            values[key] = _convert(hint, value, where=f"{where}{key}")
    return cls(**values)


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and type(None) in options:
            return None
        return _convert(next(option for option in options if option is not type(None)), value, where=where)
    if origin is Literal:
        if value not in options:
            raise ConfigError(f"setting {where} must be one of {', '.join(map(str, options))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"setting {where} must be a list, got {value!r}")
        return tuple(_convert(options[0], item, where=where) for item in value)
    # YAML reads 1e-3 as text and 1 as an integer; both are fine where a float is asked for.
    if hint is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError) as exc:
            raise ConfigError(f"setting {where} must be a number, got {value!r}") from exc
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"setting {where} must be {hint.__name__}, got {value!r}")
    return value
