"""Writes pictures as PNG files, atomically."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from emostream.errors import ConfigError
from emostream.files import write_whole


def png_bytes(rgb: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture (uint8, H×W gray or H×W×3 RGB) as PNG."""
    picture = rgb if rgb.ndim == 2 else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", picture)[1].tobytes()


def write_png(rgb: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a picture (uint8, H×W×3, RGB) atomically.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        write_whole(path, png_bytes(rgb))
    except OSError as exc:
        raise ConfigError(f"cannot write picture {path}: {exc.strerror}; choose a file in a writable folder") from exc
