"""Every promise in the table of faults names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_every_promise_has_its_test() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    section = text.partition("### Promises and their tests")[2].partition("\nReadiness")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows
    for row in rows:
        found = _TEST.findall(row.split("|")[3])
        assert found, f"no test: {row}"
        for path, name in found:
            tree = ast.parse((ROOT / "tests" / path).read_text())
            names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in names, f"{path} has no {name}"
