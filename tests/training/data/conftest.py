"""Searches for duplicates that are kept on disk are kept for one test only."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test, so that each search is made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
