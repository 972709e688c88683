"""TensorRT-RTX builds engines without a GPU, so these tests build real ones."""

from __future__ import annotations

import pytest

from emostream.errors import EngineUnavailableError
from emostream.vision.engines.trt.package import TrtPackage, load_package


@pytest.fixture(scope="session")
def rtx() -> TrtPackage:
    """The package; tests that need it are skipped where it is not installed."""
    try:
        return load_package("tensorrt_rtx")
    except EngineUnavailableError as exc:
        pytest.skip(str(exc))
