"""The hard clip of the benchmarks: faces that turn and speak, with cuts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from emostream.cli.bench.demo_clip import DEMO_FPS, load_portraits
from emostream.render.video_writer import VideoWriter

_SHOT_SECONDS = 3.0
_SPEECH_HERTZ = 4.0  # syllables per second
_NOISE_LEVELS = 1.5
_SHOTS = ((2, 0.95), (3, 0.8), (1, 1.25), (4, 0.7))
"""(faces, size) of the shots, repeated; the size is the width of a portrait as a share of its column."""

Picture = npt.NDArray[np.uint8]


def make_hard_clip(
    path: Path,
    *,
    num_frames: int = 500,
    width: int = 640,
    height: int = 360,
    on_frame: Callable[[], None] | None = None,
) -> None:
    """Write an H.264 clip that costs as much as real ones: portraits cross the picture, turn their heads, speak and
    nod; every three seconds there is a cut to another number of faces in another place, and there is noise.

    Args:
        path: output file (.mp4).
        num_frames: number of frames, at 25 frames per second.
        width, height: pixels.
        on_frame: called after each frame, for a progress bar.
    """
    portraits = load_portraits()
    random = np.random.default_rng(1)
    patches = random.integers(60, 160, (9, 16, 3), dtype=np.uint8)
    background = np.asarray(cv2.resize(patches, (width, height)), dtype=np.uint8)
    with VideoWriter(path, declared_fps=DEMO_FPS) as writer:
        for index in range(num_frames):
            seconds = index / DEMO_FPS
            shot = int(seconds / _SHOT_SECONDS)
            num_faces, size = _SHOTS[shot % len(_SHOTS)]
            picture = np.roll(background, shot * width // 5, axis=1).copy()
            for number in range(num_faces):
                portrait = portraits[(number + shot) % len(portraits)]
                _paste_alive(picture, portrait, place=(number + 0.5) / num_faces, size=size / num_faces, at=seconds)
            noise = random.normal(0, _NOISE_LEVELS, (height, width, 1))
            writer.write(np.clip(picture + noise, 0, 255).astype(np.uint8), pts_seconds=seconds)
            if on_frame is not None:
                on_frame()


def _paste_alive(picture: Picture, portrait: Picture, *, place: float, size: float, at: float) -> None:
    """Draw a portrait that moves, turns and speaks into the picture, in place.

    Args:
        picture: uint8, H×W×3.
        portrait: uint8, h×w×3.
        place: of its middle, as a share of the picture's width.
        size: its width as a share of the picture's.
        at: seconds.
    """
    height, width = picture.shape[:2]
    rows, columns = portrait.shape[:2]
    phase = at + 7 * place
    # Speech: the portrait stretches in waves, most around its middle, where faces are.
    ys, xs = np.mgrid[0:rows, 0:columns].astype(np.float32)
    near = np.exp(-(((xs / columns - 0.45) / 0.2) ** 2) - ((ys / rows - 0.4) / 0.25) ** 2).astype(np.float32)
    wave = 0.012 * rows * math.sin(2 * math.pi * _SPEECH_HERTZ * phase) * max(math.sin(0.8 * phase), 0.0)
    spoken = cv2.remap(portrait, xs, ys + wave * near * np.sin(ys * (6 * math.pi / rows)), cv2.INTER_LINEAR)
    scale = min(size * width / columns, 1.1 * height / rows) * (1 + 0.08 * math.sin(0.9 * phase))
    half_width, half_height = scale * columns / 2, scale * rows / 2
    centre = np.array(
        [
            width * (place + 0.25 * size * math.sin(1.1 * phase)),
            height * (0.55 + 0.06 * math.sin(2.3 * phase)),
        ]
    )
    turn = 0.18 * math.sin(1.7 * phase)  # of the head: one side comes nearer
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half_width * math.cos(2 * turn), half_height)
    corners[:, 1] *= 1 + turn * np.sign(corners[:, 0])
    angle = 0.25 * math.sin(1.3 * phase)
    rotation = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    target = (corners @ rotation + centre).astype(np.float32)
    source = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    cv2.warpPerspective(spoken, matrix, (width, height), dst=picture, borderMode=cv2.BORDER_TRANSPARENT)
