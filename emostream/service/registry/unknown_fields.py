"""What a newer version wrote: unknown fields are kept, at any depth, unless `min_version` says that they matter.

Items of lists (zones) are identified by their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MIN_VERSION = "min_version"
"""Field of a record, a job: the first version that can work with it. Older processes leave it to newer ones."""

_NEVER = (1 << 62,)


def version_tuple(version: object) -> tuple[int, ...]:
    """Numbers to compare a version by; what is not a version is later than every version.

    >>> version_tuple("0.10.2rc1") > version_tuple("0.9"), version_tuple("1.0.0") == version_tuple(1)
    (True, True)
    """
    if isinstance(version, bool) or not isinstance(version, str | int | float):
        return _NEVER
    numbers = [re.match(r"[0-9]{1,18}(?![0-9])", part, re.ASCII) for part in str(version).split(".")]
    found = [int(number[0]) for number in numbers if number is not None]
    if len(found) < len(numbers):
        return _NEVER
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def is_for_newer(content: Mapping[str, Any], *, version: str) -> bool:
    """Whether a record must be left to processes of a newer version than `version`."""
    return MIN_VERSION in content and version_tuple(content[MIN_VERSION]) > version_tuple(version)


def unknown_in(content: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in `content` that are not in `known`, at their positions.

    >>> unknown_in({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 2}})
    {'a': 1, 'b': {'d': 3}}
    """
    unknown: dict[str, Any] = {}
    for name, value in content.items():
        if name not in known:
            unknown[name] = value
        else:
            inner, inner_known = _as_mapping(value), _as_mapping(known[name])
            if inner and inner_known and (found := unknown_in(inner, inner_known)):
                unknown[name] = found
    return unknown


def with_unknown(known: Mapping[str, Any], unknown: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse: merge unknown fields into `known`, whose values take precedence.

    >>> with_unknown({"b": {"c": 4}}, {"a": 1, "b": {"d": 3}})
    {'a': 1, 'b': {'d': 3, 'c': 4}}
    """
    merged = {name: value for name, value in unknown.items() if name not in known}
    for name, value in known.items():
        extra = unknown.get(name)
        if not isinstance(extra, Mapping):
            merged[name] = value
        elif isinstance(value, Mapping):
            merged[name] = with_unknown(value, extra)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            merged[name] = [with_unknown(item, extra.get(item["name"], {})) for item in value]
        else:
            merged[name] = value
    return merged


def _as_mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, str) or not isinstance(value, Sequence):
        return {}
    return {item["name"]: item for item in value if isinstance(item, Mapping) and isinstance(item.get("name"), str)}
