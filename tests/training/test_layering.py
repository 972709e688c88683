"""Ray has two doors in `training/`: without it installed, one process trains as ever."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "training"
DOORS = {"distributed.py", "search.py"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports_at_the_top(path: Path) -> set[str]:
    """Top-level modules that importing the file imports."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_ray_has_two_doors(path: Path) -> None:
    relative = str(path.relative_to(PACKAGE))
    if relative in DOORS:
        return
    everywhere = {
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
        + ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
    }
    assert not any(name == "ray" or name.startswith("ray.") for name in everywhere), f"{relative} imports ray"
    behind = {"training.loop.distributed", "training.search.run"} & imports_at_the_top(path)
    assert not behind, f"{relative} needs Ray to be imported"
