"""What the tests of deployments share."""

from __future__ import annotations

from tests.helm.conftest import helm

__all__ = ["helm"]
