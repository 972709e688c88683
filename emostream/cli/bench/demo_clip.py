"""Generates a clip of moving real faces from public-domain portraits that ship with two packages.

scikit-image has NASA's portrait of Eileen Collins, matplotlib the US Navy's of Grace Hopper.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from emostream.errors import ConfigError
from emostream.render.video_writer import VideoWriter

_PORTRAITS = (("skimage", "data/astronaut.png"), ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"))
DEMO_FPS = 25


def load_portraits() -> list[npt.NDArray[np.uint8]]:
    """The portraits as RGB pictures (uint8, H×W×3).

    Raises:
        ConfigError: a package with a portrait is not installed.
    """
    return [_load_portrait(package, member) for package, member in _PORTRAITS]


def _load_portrait(package: str, member: str) -> npt.NDArray[np.uint8]:
    # find_spec instead of import: importing the packages takes half a second.
    spec = importlib.util.find_spec(package)
    path = Path(spec.submodule_search_locations[0]) / member if spec and spec.submodule_search_locations else None
    bgr = cv2.imread(str(path)) if path is not None and path.is_file() else None
    if bgr is None:
        raise ConfigError(
            f"the demo clip needs the portrait {member} from package {package}: "
            "run `pip install 'emostream[demo]'`, or use your own video with --source"
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def make_demo_clip(
    path: Path,
    *,
    num_frames: int = 200,
    width: int = 640,
    height: int = 360,
    num_faces: int = 2,
    on_frame: Callable[[], None] | None = None,
) -> None:
    """Write an H.264 clip in which portraits move, rotate and change size, with changing light.

    Args:
        path: output file (.mp4).
        num_frames: number of frames, at 25 frames per second.
        width, height: pixels.
        num_faces: number of portraits side by side.
        on_frame: called after each frame, for a progress bar.
    """
    portraits = load_portraits()
    background = np.linspace(70, 130, width, dtype=np.float32)[None, :, None]
    with VideoWriter(path, declared_fps=DEMO_FPS) as writer:
        for index in range(num_frames):
            picture = np.broadcast_to(background, (height, width, 3)).astype(np.uint8, order="C")
            for number in range(num_faces):
                _paste_moving(picture, portraits[number % len(portraits)], number, num_faces, index / DEMO_FPS)
            light = 0.85 + 0.15 * math.cos(index / DEMO_FPS)
            writer.write(cv2.convertScaleAbs(picture, alpha=light).astype(np.uint8), pts_seconds=index / DEMO_FPS)
            if on_frame is not None:
                on_frame()


def _paste_moving(
    picture: npt.NDArray[np.uint8], portrait: npt.NDArray[np.uint8], number: int, num_faces: int, seconds: float
) -> None:
    """Draw a portrait into its column of the picture, in place."""
    height, width = picture.shape[:2]
    column = width / num_faces
    phase = seconds * 1.1 + 2.0 * number
    size = min(column, height) / portrait.shape[1] * (0.92 + 0.06 * math.sin(phase * 0.7))
    turn = cv2.getRotationMatrix2D((portrait.shape[1] / 2, portrait.shape[0] / 2), 5 * math.sin(phase), size)
    turn[:, 2] += (
        column * (number + 0.5) + 0.04 * column * math.cos(phase) - portrait.shape[1] / 2,
        height / 2 + 0.03 * height * math.sin(1.3 * phase) - portrait.shape[0] / 2,
    )
    left, right = round(column * number), round(column * (number + 1))
    turn[0, 2] -= left
    cv2.warpAffine(
        portrait, turn, (right - left, height), dst=picture[:, left:right], borderMode=cv2.BORDER_TRANSPARENT
    )
