"""Makes the table of the chart's README from the comments of values.yaml.

A comment that starts with `# --` describes the value below it; further comment lines continue the sentence. A value
that contains others may be described as a whole, followed by the descriptions of its own values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

_MARK = "# --"
_MAX_DEFAULT_LENGTH = 60  # longer defaults are left to values.yaml


@dataclass(frozen=True, slots=True)
class Value:
    """A described value.

    Attributes:
        path: its name, with those of the enclosing values.
        default: as JSON; a hint where that would be long; empty where its parts are described.
        description: the comment, on one line.
    """

    path: str
    default: str
    description: str


def described_values(text: str) -> list[Value]:
    """Every described value, in the order of the file.

    >>> described_values("box:\\n  # -- In mm,\\n  # rounded.\\n  width: 3\\n")
    [Value(path='box.width', default='`3`', description='In mm, rounded.')]

    Raises:
        ValueError: a comment describes nothing.
    """
    tree = yaml.safe_load(text)
    described = list(_descriptions(text))
    return [
        Value(
            path=".".join(path),
            default="" if _has_described_parts(path, described) else _default_text(_value_at(tree, path)),
            description=description,
        )
        for path, description in described
    ]


def undescribed_values(text: str) -> list[str]:
    """Values that neither a comment of their own nor one of a value around them explains."""
    described = {value.path for value in described_values(text)}
    return [
        ".".join(path)
        for path in _leaves(yaml.safe_load(text), ())
        if not any(".".join(path[:length]) in described for length in range(1, len(path) + 1))
    ]


def values_table(text: str) -> str:
    """A Markdown table of all described values."""
    lines = ["| value | default | what it does |", "|---|---|---|"]
    for value in described_values(text):
        description = value.description.replace("|", "\\|")
        lines.append(f"| `{value.path}` | {value.default} | {description} |")
    return "\n".join(lines) + "\n"


def _descriptions(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(_MARK):
            if comment:
                raise ValueError(f"the comment {' '.join(comment)!r} describes nothing")
            comment = [stripped.removeprefix(_MARK).strip()]
        elif stripped.startswith("#"):
            if comment:
                comment.append(stripped.removeprefix("#").strip())
        elif stripped and not stripped.startswith("-"):
            indent = len(line) - len(line.lstrip())
            name = stripped.partition(":")[0]
            parents = [*(parent for parent in parents if parent[0] < indent), (indent, name)]
            if comment:
                yield tuple(parent for _, parent in parents), " ".join(comment)
            comment = []
    if comment:
        raise ValueError(f"the comment {' '.join(comment)!r} describes nothing")


def _value_at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _has_described_parts(path: tuple[str, ...], described: list[tuple[tuple[str, ...], str]]) -> bool:
    return any(len(other) > len(path) and other[: len(path)] == path for other, _ in described)


def _default_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= _MAX_DEFAULT_LENGTH else "see values.yaml"


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from _leaves(value, (*path, name))
    else:
        yield path
