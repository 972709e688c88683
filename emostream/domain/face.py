"""A face in a frame, and its crop for the classifier."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Len

from emostream.domain.fields import OPTIONAL, Count, Score

if TYPE_CHECKING:  # who reads events needs no arrays
    import numpy as np
    import numpy.typing as npt

BoxXyxy = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of the frame, x0 < x1 and y0 < y1."""

Landmarks = tuple[tuple[float, float], ...]
"""(x, y) in pixels: left eye, right eye, nose tip, left and right corner of the mouth, as seen in the picture."""

NUM_LANDMARKS = 5


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame."""

    track_id: Count | None = field(default=None, kw_only=True)
    """One face, followed through this stream and epoch, over missed and bad pictures and gaps; a number that ended is
    never used again. A face that comes back later gets a new one. Null when faces are not followed."""
    box_xyxy: BoxXyxy
    """Left, top, right, bottom in pixels of the frame (`frame_width` × `frame_height`); may reach over its border."""
    score: Score
    """The detector's confidence that this is a face, 0 to 1; a followed face keeps that of its last detection."""
    found_by: Literal["detector", "flow"] = field(default="detector", kw_only=True)
    """Whether this frame was searched, or the face was followed from an earlier one."""
    landmarks: Annotated[Landmarks, Len(NUM_LANDMARKS, NUM_LANDMARKS), OPTIONAL]
    """Left eye, right eye, nose tip, left and right corner of the mouth as seen in the picture, x and y in pixels.
    Absent when the stream publishes no landmarks."""
    person_id: Annotated[Count | None, OPTIONAL] = field(default=None, kw_only=True)
    """Who it is among the persons of this stream and epoch, as far as faces tell: several tracks may be one person.
    Absent while that is not known, and where persons are not told apart (`persons.grouped`)."""

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box_xyxy
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"expected a box with x0 < x1 and y0 < y1, got {self.box_xyxy}")
        if len(self.landmarks) not in (0, NUM_LANDMARKS):
            raise ValueError(f"expected {NUM_LANDMARKS} landmarks or none, got {len(self.landmarks)}")

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return self.box_xyxy[2] - self.box_xyxy[0]

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return self.box_xyxy[3] - self.box_xyxy[1]

    def scaled(self, x: float, y: float) -> Face:
        """The same face in a picture that is `x` times as wide and `y` times as high."""
        x0, y0, x1, y1 = self.box_xyxy
        landmarks = tuple((x * across, y * down) for across, down in self.landmarks)
        return replace(self, box_xyxy=(x * x0, y * y0, x * x1, y * y1), landmarks=landmarks)


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """An aligned face, ready for the classifier.

    Attributes:
        pixels: uint8, S×S with the classifier's input size, gray, full range, host memory, framed like FER2013.
        face: the face that it shows.
        frame_index: index of its frame.
    """

    pixels: npt.NDArray[np.uint8]
    face: Face
    frame_index: int

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.shape[0] != self.pixels.shape[1] or self.pixels.dtype != "uint8":
            raise ValueError(f"expected square gray uint8 pixels, got {self.pixels.dtype} {self.pixels.shape}")

    def __repr__(self) -> str:
        side = self.pixels.shape[0]
        return f"Crop({side}×{side}, frame_index={self.frame_index}, track_id={self.face.track_id})"
