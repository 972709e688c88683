"""What is imported only when it is needed: the command line and the client start without heavy libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import emostream.client
from tests.conftest import REPOSITORY

HEAVY = {"av", "cv2", "matplotlib", "numpy", "onnx", "onnxruntime", "PIL", "ray"}
_SHOW = "import atexit, json, sys; atexit.register(lambda: print(json.dumps(sorted(sys.modules))))\n"
_COMMAND = "from emostream.cli import main; sys.argv = ['emostream', {}]; main()"


def _modules_after(code: str) -> set[str]:
    """Modules that a fresh Python has loaded at the end of this code."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", _SHOW + code], env=environment, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("code", "not_loaded"),
    [
        ("import emostream", HEAVY),
        ("import emostream.client", HEAVY | {"redis", "pydantic_settings", "httpx"}),
        ("from emostream.client import EmotionEvents, ConsumerGroup", HEAVY | {"httpx", "pydantic_settings", "yaml"}),
        ("from emostream.client import ServiceClient", HEAVY | {"redis"}),
        (_COMMAND.format("'--version'"), HEAVY | {"rich", "pydantic", "redis"}),
        (_COMMAND.format("'--help'"), HEAVY | {"pydantic", "redis"}),
        (_COMMAND.format("'streams', '--help'"), HEAVY),
    ],
    ids=["package", "client", "events", "http", "version", "help", "streams"],
)
def test_no_heavy_library_is_loaded(code: str, not_loaded: set[str]) -> None:
    loaded = _modules_after(code)
    assert "emostream" in loaded
    assert not loaded & not_loaded


@pytest.mark.parametrize("name", emostream.client.__all__)
def test_each_name_of_the_client_is_there(name: str) -> None:
    assert getattr(emostream.client, name) is not None
    assert name in dir(emostream.client)


def test_the_client_has_no_other_name() -> None:
    with pytest.raises(AttributeError):
        emostream.client.Redis  # noqa: B018
