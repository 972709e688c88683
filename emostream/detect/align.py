"""Pure: a face → the aligned crop the classifier sees, framed as its training pictures are.

The classifier was trained on FER2013 pictures resized to the side its manifest names. The constants below say where the
detector finds box and landmarks in such a picture of 64×64; a crop that puts a face's box there, turned upright by its
landmarks, has the framing of FER2013 (`python -m training.framing` proves it). Other sides are the same crop, scaled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from emostream.face import Face
from emostream.frame import Frame, Luma
from emostream.halving import halved
from emostream.similarity import Similarity, inverse_similarity, scale_of, similarity_from_points, transform_points

CROP_SIZE_PIXELS = 64
"""The side that the template below is written for, and of a crop where nobody asks for another."""

# Medians over 4,000 FER2013 Training pictures (a face was found in 3,846), made symmetric:
#   python -m training.template --data ../shared/data/fer2013
# CenterFace and YuNet learned their boxes from the same annotations (WIDER FACE), so both share them.
TEMPLATE_BOX = np.array([6.7, 4.2, 57.3, 61.9])
"""x0, y0, x1, y1 of the box in a 64×64 crop, in pixels; pixel centres lie at whole numbers plus ½."""
TEMPLATE_LANDMARKS = np.array([[20.5, 25.6], [43.5, 25.6], [32.0, 38.0], [22.9, 47.5], [41.1, 47.5]])
"""(x, y) of the five landmarks in a 64×64 crop, in pixels."""

_TEMPLATE_CENTRE = (TEMPLATE_BOX[:2] + TEMPLATE_BOX[2:]) / 2
_TEMPLATE_SIDES = float((TEMPLATE_BOX[2:] - TEMPLATE_BOX[:2]).sum())


def crop_similarities(faces: Sequence[Face], *, size: int = CROP_SIZE_PIXELS) -> Similarity:
    """The transforms from frame pixels to pixels of a crop of side `size`, n×2×3.

    The landmarks give the turn; the box gives place and size. Landmarks alone would do, but they wander with the pose:
    on FER2013 pictures the middle of such a crop strays by 5.4 × 3.7 pixels (standard deviation), with the box by
    3.4 × 2.6, its size by 13 against 11 %, and accuracy on PublicTest is about one point higher with the box.
    """
    boxes = np.array([face.box_xyxy for face in faces]).reshape(-1, 4)
    landmarks = np.array([face.landmarks for face in faces]).reshape(-1, 5, 2)
    turns = similarity_from_points(landmarks, np.broadcast_to(TEMPLATE_LANDMARKS, landmarks.shape))[..., :2]
    lengths = np.hypot(turns[:, 0, 0], turns[:, 1, 0])[:, None, None]
    turns = np.where(lengths > 0, turns / np.where(lengths > 0, lengths, 1), np.eye(2))
    sides = (boxes[:, 2:] - boxes[:, :2]).sum(axis=1)
    scale = size / CROP_SIZE_PIXELS
    linear = turns * (scale * _TEMPLATE_SIDES / sides)[:, None, None]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    shifts = scale * _TEMPLATE_CENTRE - (linear @ centres[:, :, None])[..., 0]
    return np.concatenate([linear, shifts[..., None]], axis=2)


def crop_face(luma: Luma, face: Face, *, size: int = CROP_SIZE_PIXELS, out: Luma | None = None) -> Luma:
    """The aligned crop of one face: uint8, size×size, the range of `luma`; outside the frame its border is repeated.

    Args:
        luma: the frame the face was found in.
        face: where.
        size: side of the crop; `out` overrides it.
        out: written and returned when given, for example a row of a batch (C order); otherwise a new array is returned.
    """
    if out is None:
        out = np.empty((size, size), dtype=np.uint8)
    _cut(luma, crop_similarities([face], size=len(out))[0], out=out)
    return out


def crop_faces(frames: Sequence[Frame], faces: Sequence[Sequence[Face]], *, size: int = CROP_SIZE_PIXELS) -> Luma:
    """The crops of all faces of several frames, in order, as one full-range uint8 batch n×size×size."""
    similarities = crop_similarities([face for found in faces for face in found], size=size)
    batch = np.empty((len(similarities), size, size), dtype=np.uint8)
    first = 0
    for frame, found in zip(frames, faces, strict=True):
        end = first + len(found)
        for row in range(first, end):
            _cut(frame.luma, similarities[row], out=batch[row])
        if not frame.is_full_range:
            batch[first:end] = frame.full_luma(batch[first:end])
        first = end
    return batch


def _cut(luma: Luma, frame_to_crop: Similarity, *, out: Luma) -> None:
    crop_to_frame = inverse_similarity(frame_to_crop)
    # Bilinear sampling would skip pixels of a large face, so that is first halved to about the size of the crop.
    num_halvings = max(round(math.log2(scale_of(crop_to_frame))), 0)
    if num_halvings > 0:
        luma, crop_to_frame = _halved_around(luma, crop_to_frame, side=len(out), times=num_halvings)
    # OpenCV counts pixel centres in whole numbers, this package counts pixel edges.
    crop_to_frame[:, 2] += crop_to_frame[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(luma, crop_to_frame, out.shape[::-1], dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _halved_around(luma: Luma, crop_to_frame: Similarity, *, side: int, times: int) -> tuple[Luma, Similarity]:
    """The part of the frame a crop of this side shows, halved so many times, and the transform into it."""
    block = 1 << times
    corners = transform_points(crop_to_frame, [(0, 0), (side, 0), (0, side), (side, side)])
    low, high = [], []
    for lowest, highest, limit in zip(corners.min(axis=0), corners.max(axis=0), luma.shape[::-1], strict=True):
        # One block more on each side, for bilinear sampling at the rim, and at least one inside the frame.
        start = min(max(int(lowest) - block, 0), max(limit - block, 0))
        low.append(start)
        high.append(max(min(int(highest) + 2 * block, limit), start + block))
    part = halved(luma[low[1] : high[1], low[0] : high[0]], times=times)
    to_part = crop_to_frame / block
    to_part[:, 2] -= np.array(low) / block
    return part, to_part
