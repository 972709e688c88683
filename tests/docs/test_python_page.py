"""The page about Python runs as it stands there, in order, as a notebook would run it."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import cv2
import pytest

from emostream.cli.bench.demo_clip import load_portraits, make_demo_clip
from tests.conftest import REPOSITORY
from tests.vision.detect.real_model import centerface_path

pytestmark = pytest.mark.integration


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / page).read_text(encoding="utf-8"), re.DOTALL)


async def run_as_notebook(code: str, names: dict[str, Any]) -> None:
    """In a running event loop, with `await` allowed on the top level."""
    compiled = compile(code, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if inspect.iscoroutine(result := eval(compiled, names)):
        await result


def test_every_block_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    centerface_path()
    make_demo_clip(tmp_path / "clip.mp4", num_frames=20)
    cv2.imwrite(str(tmp_path / "photo.png"), load_portraits()[0][:, :, ::-1])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    async def run() -> None:
        for code in blocks("docs/python.md"):
            await run_as_notebook(code, names)

    asyncio.run(run())
    printed = capsys.readouterr().out
    assert "happy" in printed
    assert {path.name for path in tmp_path.iterdir()} >= {
        "clip.csv", "clip.html", "clip-annotated.mp4", "photo-annotated.png"
    }  # fmt: skip


def test_the_first_block_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    centerface_path()
    make_demo_clip(tmp_path / "my-video.mp4", num_frames=10)
    cv2.imwrite(str(tmp_path / "photo.jpg"), load_portraits()[0][:, :, ::-1])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    asyncio.run(run_as_notebook(blocks("README.md")[0], names))
    assert names["event"].frame_index == 9 and [face.dominant for face in names["faces"]] == ["happy"]
