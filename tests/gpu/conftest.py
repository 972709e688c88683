"""What runs only on a GPU. `EMOSTREAM_REQUIRE_GPU=1` makes a skip a failure, on the machine that is there for it."""

from __future__ import annotations

import os

import pytest

from emostream.errors import EngineUnavailableError
from emostream.vision.classify.engines import check_available
from emostream.vision.engines.trt.package import TRT_NAMES, TrtName


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs a GPU."""
    for item in items:
        if "tests/gpu/" in item.nodeid:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(params=TRT_NAMES)
def engine(request: pytest.FixtureRequest) -> TrtName:
    """Each engine that can run here; at least one must, where a GPU is required."""
    name: TrtName = request.param
    reasons = {}
    for candidate in TRT_NAMES:
        try:
            check_available(candidate)
        except EngineUnavailableError as exc:
            reasons[candidate] = str(exc)
    if len(reasons) == len(TRT_NAMES) and os.environ.get("EMOSTREAM_REQUIRE_GPU") == "1":
        pytest.fail(f"no engine runs here, and EMOSTREAM_REQUIRE_GPU=1: {reasons}")
    if name in reasons:
        pytest.skip(reasons[name])
    return name
