"""Rules of the whole suite: where real data lies, and what the unit layer must not do."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.schema_check import checked_events
from tests.stages import UNIT

__all__ = ["checked_events"]  # a fixture for every test

# Workers side by side (pytest-xdist) use the cores already: more threads of PyTorch and NumPy in each of them would
# only wait for one another, spinning. Set here, before either is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

REPOSITORY = Path(__file__).parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


# A busy machine is no failure, a checkout gives the same answer twice; `--hypothesis-profile=explore` looks further.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", settings.get_profile("suite"), derandomize=False, max_examples=500)
settings.load_profile("suite")


# Tests in these folders start a Ray cluster or load all cores: one at a time, on one worker.
_ONE_AT_A_TIME = ("tests/deployments/", "tests/service/console/", "tests/cli/bench/", "tests/test_tour.py")


_ALL_OF_OTHER_LAYERS = re.compile(r"^pytestmark = .*\bpytest\.mark\.(integration|slow)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The unit layer imports no file that has none of its tests: half of its start would go into Ray, PyTorch and all.

    The run of the other layers imports every file.
    """
    if config.option.markexpr != UNIT or collection_path.suffix != ".py" or collection_path.name == "conftest.py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    is_of_others = _ALL_OF_OTHER_LAYERS.search(text) is not None
    has_tests = collection_path.name.startswith("test_") and not is_of_others
    return None if has_tests or ">>>" in text else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers (pytest-xdist) the tests of a file stay together, so that its fixtures are made once."""
    for item in items:
        file = item.path.relative_to(REPOSITORY).as_posix() if item.path.is_relative_to(REPOSITORY) else str(item.path)
        item.add_marker(pytest.mark.xdist_group("one-at-a-time" if file.startswith(_ONE_AT_A_TIME) else file))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real pictures and clips beside the checkout; the test is skipped where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs real data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_videos(shared_data: Path) -> Path:
    """Folder of real clips."""
    return shared_data / "videos"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the developer's shell must not reach a test."""
    for name in list(os.environ):
        if name.startswith("EMOSTREAM_") and name != "EMOSTREAM_REQUIRE_GPU":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_log_handler_left_behind() -> Iterator[None]:
    """A handler that a test or a library under test adds writes to the captured streams of that test, which close."""
    loggers = [logging.getLogger(), logging.getLogger("emostream")]
    before = [list(found.handlers) for found in loggers]
    yield
    for found, known in zip(loggers, before, strict=True):
        for handler in list(found.handlers):
            if type(handler) is logging.StreamHandler and handler not in known:  # pytest's own are subclasses
                found.removeHandler(handler)


@pytest.fixture(autouse=True)
def _no_network_in_unit_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The unit layer reaches nothing but this machine's loopback address."""
    if request.node.get_closest_marker("integration"):
        yield
        return
    connect = socket.socket.connect

    def connect_to_loopback(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            host = str(address[0])
            if host not in ("127.0.0.1", "::1", "localhost"):
                raise RuntimeError(f"a unit test tried to reach {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_to_loopback)
    yield
