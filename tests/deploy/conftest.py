"""Programs for this folder."""

from __future__ import annotations

from tests.helm.conftest import helm

__all__ = ["helm"]  # a fixture
