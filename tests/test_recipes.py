"""Every recipe in docs/recipes.md runs as it stands there, against a real server."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from emostream.config import PublishSettings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from tests.conftest import REPOSITORY
from tests.publish.samples import STATUS, events_of

pytestmark = pytest.mark.integration

COMMANDS = {"python": [sys.executable, "-c"], "sh": ["sh", "-ec"], "js": ["node", "-e"], "go": ["go", "run"]}
NEEDS = {"python": sys.executable, "sh": "redis-cli", "js": "node", "go": "go"}


def recipes() -> list[object]:
    page = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|sh|js|go)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 9
    return [pytest.param(kind, text, id=f"{kind}-{number}") for number, (kind, text) in enumerate(blocks)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    async def publish(url: str) -> None:
        async with RedisSink(PublishSettings(), redis_url=url) as sink:
            await sink.publish(events_of("door", range(5)))
            await sink.publish_status(replace(STATUS, stream_id="door"))

    with EmbeddedRedis() as server:
        asyncio.run(publish(server.url))
        yield server.url.replace("redis://:", "redis://default:")  # redis-cli sends no empty user name


@pytest.mark.parametrize(("kind", "text"), recipes())
def test_recipe(url: str, kind: str, text: str, tmp_path: Path) -> None:
    if shutil.which(NEEDS[kind]) is None:
        pytest.skip(f"needs {NEEDS[kind]}")
    if kind == "go":  # takes files only
        (tmp_path / "main.go").write_text(text, encoding="utf-8")
        text = str(tmp_path / "main.go")
    outcome = subprocess.run(
        [*COMMANDS[kind], text],
        env={**os.environ, "REDIS_URL": url, "GOCACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,  # Go compiles its library first
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "4" in outcome.stdout or "happy" in outcome.stdout or "ended" in outcome.stdout, outcome.stdout
    assert "NOAUTH" not in outcome.stdout
