"""A picture that the program holds, as a source of one frame."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self, get_args

import cv2
import numpy as np
import numpy.typing as npt

from emostream.decode.source import DecodeStats, SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind
from emostream.errors import SourceRejectedError

ColourOrder = Literal["rgb", "bgr"]
"""How the three values of a pixel are stored: Pillow, imageio and matplotlib say red first, OpenCV blue first."""


def rgb_from_array(array: npt.NDArray[Any], *, order: ColourOrder = "rgb") -> npt.NDArray[np.uint8]:
    """A picture as an array, checked and in the order red, green, blue.

    Args:
        array: uint8, H×W (gray), H×W×1 (gray), H×W×3 or H×W×4 (the fourth, opacity, is left out).
        order: of the colours; of no account for gray.

    Returns:
        uint8, H×W×3.

    Raises:
        SourceRejectedError: another dtype or shape, or no pixel.
    """
    check_colour_order(order)
    picture = _checked(array)
    if picture.ndim == 2:
        return np.repeat(picture[:, :, None], 3, axis=2)
    picture = picture[:, :, :3]
    return np.ascontiguousarray(picture if order == "rgb" else picture[:, :, ::-1])


def luma_from_array(array: npt.NDArray[Any], *, max_pixels: int, order: ColourOrder = "rgb") -> npt.NDArray[np.uint8]:
    """The gray of a picture as an array, H×W, in memory of its own; arguments and errors are those of `rgb_from_array`.

    Args:
        array: as there.
        max_pixels: one with more is refused.
        order: as there.
    """
    check_colour_order(order)
    picture = _checked(array)
    height, width = picture.shape[:2]
    if width * height > max_pixels:
        raise SourceRejectedError(
            f"the frame has {width}×{height} pixels, at most {max_pixels} are accepted; make it smaller or raise "
            "decode.max_frame_pixels"
        )
    if picture.ndim == 2:
        return np.array(picture, order="C")
    code = cv2.COLOR_RGB2GRAY if order == "rgb" else cv2.COLOR_BGR2GRAY
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture[:, :, :3]), code), dtype=np.uint8)


def check_colour_order(order: object) -> None:
    """Raise `SourceRejectedError` where it is none."""
    if order not in get_args(ColourOrder):
        raise SourceRejectedError(f"expected a colour order of {', '.join(get_args(ColourOrder))}, got {order!r}")


def _checked(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """H×W, H×W×3 or H×W×4."""
    if array.dtype != np.uint8:
        raise SourceRejectedError(
            f"expected a picture of uint8 (0 to 255), got {array.dtype}; scale it and convert it with .astype('uint8')"
        )
    picture = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if picture.ndim not in (2, 3) or picture.size == 0 or (picture.ndim == 3 and picture.shape[2] not in (3, 4)):
        hint = "; np.moveaxis(picture, 0, -1) puts the colours last" if array.shape[:1] in ((1,), (3,)) else ""
        raise SourceRejectedError(
            f"expected a picture of the shape (height, width) or (height, width, 3), got {array.shape}{hint}"
        )
    return picture


class ArraySource:
    """A `FrameSource` of one picture.

    Args:
        rgb: uint8, H×W×3, red first; kept, not copied.
        stream_id: of the frame.
    """

    def __init__(self, rgb: npt.NDArray[np.uint8], *, stream_id: str) -> None:
        self._rgb = rgb
        self._stream_id = stream_id
        self._stats = DecodeStats()

    @property
    def kind(self) -> StreamKind:
        """A file."""
        return StreamKind.FILE

    @property
    def info(self) -> SourceInfo:
        """Its size."""
        height, width = self._rgb.shape[:2]
        return SourceInfo(width, height, codec="array", decoder="array", num_frames=1)

    @property
    def stats(self) -> DecodeStats:
        """Counters so far."""
        return self._stats

    def __enter__(self) -> Self:
        """Nothing to open."""
        return self

    def __iter__(self) -> Iterator[Frame]:
        """The frame."""
        self._stats.num_packets += 1
        self._stats.num_decoded += 1
        yield Frame(
            stream_id=self._stream_id,
            frame_index=0,
            pts_seconds=0.0,
            captured_at=datetime.now(UTC),
            luma=np.asarray(cv2.cvtColor(self._rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8),
            load_rgb=lambda: self._rgb,
        )

    def close(self) -> None:
        """Nothing stays open."""

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing stays open."""
