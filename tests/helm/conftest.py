"""Helm for this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.test_prometheus import promtool  # noqa: F401 (a fixture)
from tests.external_tools import ToolMissingError, tool_path
from tests.helm.chart import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real program; the test is skipped where it cannot be had."""
    try:
        program: Path = tool_path("helm")
    except ToolMissingError as exc:
        pytest.skip(str(exc))
    return Helm(program, tmp_path_factory.mktemp("helm-home"))
