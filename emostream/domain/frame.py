"""A decoded picture of a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face

Luma = npt.NDArray[np.uint8]
"""uint8, H×W, gray, host memory. May be a strided view of a decoder's buffer: never write to it."""

# Limited ("TV") range has black at 16 and white at 235 (ITU-R BT.601/709).
_LIMITED_TO_FULL: Luma = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)

_BLACK = np.uint8(0)


def full_range_from_limited(pixels: Luma) -> Luma:
    """Convert limited-range luma (16–235) to full range (0–255), as a new array. For small pictures, not for frames."""
    import cv2  # here, because programs that only read events import this module as well

    if pixels.size == 0:
        return pixels
    rows = pixels.reshape(-1, pixels.shape[-1])
    return np.asarray(cv2.LUT(rows, _LIMITED_TO_FULL), dtype=np.uint8).reshape(pixels.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture as people look at it: upright, of square pixels, as 8-bit luma.

    Where the stored pixels are not square, luma and colour are stretched to the shape in which they are shown, and all
    that looks at the picture works in that shape. What is published is in stored pixels (`face_in_stored_pixels`).

    Attributes:
        stream_id: the stream that it belongs to.
        frame_index: 0-based index of the decoded picture in the source; strictly increasing, with gaps for skipped
            frames.
        pts_seconds: presentation time from the start of the source; strictly increasing.
        captured_at: wall clock time at which it was received (live) or decoded (file), aware UTC.
        luma: uint8, H×W, gray. A read-only zero-copy view of the decoder's buffer, except where pixels are not square.
        is_full_range: whether luma uses 0–255; otherwise 16–235. `full_luma` converts small parts of it.
        decode_seconds: time to decode it, as far as the source can tell.
        load_rgb: loads the colour picture, uint8, H×W×3, RGB, upright; None where the source has no colour. Takes
            several milliseconds, so only previews and annotated videos use it.
        pixel_aspect: width of a stored pixel over its height, upright.
        stored_size: width and height in stored pixels, upright; None where they are those of `luma`.
        is_published: whether an event is published; otherwise it is only followed, because an earlier run has done it.
    """

    stream_id: str
    frame_index: int
    pts_seconds: float
    captured_at: datetime
    luma: Luma
    is_full_range: bool = True
    decode_seconds: float = 0.0
    load_rgb: Callable[[], npt.NDArray[np.uint8]] | None = field(default=None, repr=False)
    pixel_aspect: float = 1.0
    stored_size: tuple[int, int] | None = None
    is_published: bool = True

    def __post_init__(self) -> None:
        if self.luma.ndim != 2 or self.luma.dtype != np.uint8:
            raise ValueError(f"expected luma uint8 H×W, got {self.luma.dtype} {self.luma.shape}")
        if self.captured_at.tzinfo is None:
            raise ValueError("expected an aware captured_at (UTC), got a naive datetime")

    @property
    def width(self) -> int:
        """Width in square pixels."""
        return int(self.luma.shape[1])

    @property
    def height(self) -> int:
        """Height in square pixels."""
        return int(self.luma.shape[0])

    @property
    def stored_width(self) -> int:
        """Width in stored pixels."""
        return self.width if self.stored_size is None else self.stored_size[0]

    @property
    def stored_height(self) -> int:
        """Height in stored pixels."""
        return self.height if self.stored_size is None else self.stored_size[1]

    def face_in_stored_pixels(self, face: Face) -> Face:
        """A face that was found in `luma`, as it is published."""
        if self.stored_size is None:
            return face
        return face.scaled(self.stored_width / self.width, self.stored_height / self.height)

    def without_picture(self) -> Frame:
        """A copy of the frame that holds no pixels: black, of the same size."""
        return replace(self, luma=np.broadcast_to(_BLACK, self.luma.shape), load_rgb=None)

    def full_luma(self, pixels: Luma) -> Luma:
        """Convert pixels of this frame's luma to full range."""
        return pixels if self.is_full_range else full_range_from_limited(pixels)

    def rgb(self) -> npt.NDArray[np.uint8]:
        """The picture in colour: uint8, H×W×3, RGB; gray where the source has no colour."""
        if self.load_rgb is not None:
            return self.load_rgb()
        return np.repeat(self.full_luma(self.luma)[:, :, None], 3, axis=2)

    def __repr__(self) -> str:
        size = f"{self.width}×{self.height}"
        return f"Frame({self.stream_id!r}, index={self.frame_index}, pts={self.pts_seconds:.3f}s, {size})"
