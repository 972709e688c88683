"""The blocks of docs/tour.md, and how to run them in a folder as a reader would.

`python -m tests.tour FOLDER` runs those that need neither camera nor training, and makes the pictures of docs/pictures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "tour.md"
PICTURES = REPOSITORY / "docs" / "pictures"
_BLOCK = re.compile(r"^```([a-z ]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_WEBP_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the page: what language it is in, as written there, and what it holds."""

    kind: str
    text: str


def sections_of_tour() -> dict[str, list[Block]]:
    """Heading → its blocks, in order."""
    _, *parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part.partition("\n")[0]: [Block(*found) for found in _BLOCK.findall(part)] for part in parts}


def run_block(block: Block, *, folder: Path, instead: Mapping[str, str] | None = None) -> str:
    """Run a block there (a file is written), each text of `instead` replaced; returns what it prints."""
    text = block.text
    for old, new in (instead or {}).items():
        text = text.replace(old, new)
    if block.kind == "yaml":
        name = text.partition("\n")[0].removeprefix("# ")
        (folder / name).write_text(text, encoding="utf-8")
        return ""
    command = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[block.kind]
    binaries = Path(sys.executable).parent
    outcome = subprocess.run(
        [*command, text],
        cwd=folder,
        env=os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "COLUMNS": "140"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert outcome.returncode == 0, f"{text}\n{outcome.stdout}\n{outcome.stderr}"
    return outcome.stdout


def main() -> None:
    """Make the pictures of the page."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tour = sections_of_tour()
    for heading in ("A first clip", "Pictures", "A video"):
        for block in tour[heading]:
            run_block(block, folder=folder)
    _write(_frame(folder / "demo" / "clip-annotated.mp4", 60), "annotated")
    _write(_frame(folder / "hidden.mp4", 60), "hidden")
    _write(np.asarray(cv2.imread(str(folder / "explained.png"))), "explained")
    shot = folder / "report.png"
    subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1000,1080",
            f"--screenshot={shot}",
            (folder / "report.html").as_uri(),
        ],
        check=True,
        capture_output=True,
    )
    _write(np.asarray(cv2.imread(str(shot))), "report")


def _frame(path: Path, number: int) -> np.ndarray:
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == number:
                return np.asarray(frame.to_ndarray(format="bgr24"))
    raise AssertionError(f"{path} has no frame {number}")


def _write(bgr: np.ndarray, name: str) -> None:
    cv2.imwrite(str(PICTURES / f"{name}.webp"), bgr, [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY])


if __name__ == "__main__":
    main()
