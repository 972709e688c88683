"""Engines on a GPU: a real card where there is one, else its double, with the same tests.

`EMOSTREAM_REQUIRE_GPU=1` takes the double away, on the machine that has a card: what cannot run there fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from emostream.errors import EngineUnavailableError
from emostream.vision.classify.engines import check_available
from emostream.vision.engines.trt.cuda import find_gpu
from emostream.vision.engines.trt.package import TRT_NAMES, TrtName
from tests.cuda_double import gpu_machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here runs on a GPU where there is one."""
    for item in items:
        if "tests/gpu/" in item.nodeid:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="module", autouse=True)
def _gpu() -> Iterator[None]:
    """A card; nothing may be left on its double."""
    if os.environ.get("EMOSTREAM_REQUIRE_GPU") == "1" or _has_gpu():
        yield
        return
    with gpu_machine() as machine:
        yield
        assert machine.violations == []
        assert machine.leaks() == []


def _has_gpu() -> bool:
    try:
        find_gpu()
    except EngineUnavailableError:
        return False
    return True


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
