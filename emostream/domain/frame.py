"""One decoded picture of a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

Luma = npt.NDArray[np.uint8]
"""uint8, H×W, gray, host memory; may be a strided view on a decoder's buffer: never write into it."""

# Limited ("TV") range puts black at 16 and white at 235 (ITU-R BT.601/709).
_LIMITED_TO_FULL: Luma = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)

_BLACK = np.uint8(0)


def full_range_from_limited(pixels: Luma) -> Luma:
    """Limited-range luma (16–235) → full range (0–255), in a new array. Apply to small pictures, not to frames."""
    import cv2  # here, because programs that read events import this module and convert nothing

    if pixels.size == 0:
        return pixels
    rows = pixels.reshape(-1, pixels.shape[-1])
    return np.asarray(cv2.LUT(rows, _LIMITED_TO_FULL), dtype=np.uint8).reshape(pixels.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture, upright, as 8-bit luma.

    Attributes:
        stream_id: the stream it belongs to.
        frame_index: 0-based count of pictures decoded from the source; grows strictly, gaps are skipped frames.
        pts_seconds: presentation time in the source, from its start; grows strictly.
        captured_at: wall-clock instant the picture was received (live) or decoded (file), aware UTC.
        luma: uint8, H×W, gray. Usually a zero-copy view on the decoder's buffer, so read-only.
        is_full_range: whether luma uses 0–255; False means 16–235. `full_luma` converts small parts of it.
        decode_seconds: time the decoder took for it, as far as the source can tell.
        load_rgb: colour on demand, uint8, H×W×3, RGB, upright; None where the source has no colour to give. Costs
            several milliseconds, so only previews and annotated videos call it.
    """

    stream_id: str
    frame_index: int
    pts_seconds: float
    captured_at: datetime
    luma: Luma
    is_full_range: bool = True
    decode_seconds: float = 0.0
    load_rgb: Callable[[], npt.NDArray[np.uint8]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.luma.ndim != 2 or self.luma.dtype != np.uint8:
            raise ValueError(f"expected luma uint8 H×W, got {self.luma.dtype} {self.luma.shape}")
        if self.captured_at.tzinfo is None:
            raise ValueError("expected an aware captured_at (UTC), got a naive datetime")

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.luma.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.luma.shape[0])

    def without_picture(self) -> Frame:
        """What is known of this frame but its pixels: black, of the same size, and nothing of them is held any more."""
        return replace(self, luma=np.broadcast_to(_BLACK, self.luma.shape), load_rgb=None)

    def full_luma(self, pixels: Luma) -> Luma:
        """Pixels taken from this frame's luma, as full range."""
        return pixels if self.is_full_range else full_range_from_limited(pixels)

    def rgb(self) -> npt.NDArray[np.uint8]:
        """The picture in colour (uint8, H×W×3, RGB); gray repeated where the source has no colour."""
        if self.load_rgb is not None:
            return self.load_rgb()
        return np.repeat(self.full_luma(self.luma)[:, :, None], 3, axis=2)

    def __repr__(self) -> str:
        size = f"{self.width}×{self.height}"
        return f"Frame({self.stream_id!r}, index={self.frame_index}, pts={self.pts_seconds:.3f}s, {size})"
