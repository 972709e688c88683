"""Pure: landmarks → similarity transform → the crop the classifier sees, framed as its training pictures are.

The classifier was trained on FER2013 pictures resized to 64×64. `TEMPLATE` says where the detector's five landmarks lie
in such a picture, so a crop that puts a face's landmarks there has the framing of FER2013.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from emostream.face import Face
from emostream.frame import Frame, Luma
from emostream.similarity import Similarity, inverse_similarity, scale_of, similarity_from_points, transform_points

CROP_SIZE_PIXELS = 64

# Median landmarks of CenterFace on 4,000 FER2013 Training pictures (found in 3,846), made symmetric:
#   python -m training.template --data ../shared/data/fer2013
TEMPLATE = np.array([[20.5, 25.6], [43.5, 25.6], [32.0, 38.0], [22.9, 47.5], [41.1, 47.5]])
"""(x, y) of the five landmarks in a 64×64 crop, in pixels; pixel centres lie at whole numbers plus ½."""


def crop_similarity(face: Face) -> Similarity:
    """The transform from frame pixels to crop pixels for one face."""
    return similarity_from_points(face.landmarks, TEMPLATE)


def crop_face(luma: Luma, face: Face, *, out: Luma | None = None) -> Luma:
    """The aligned crop of one face: uint8, 64×64, the range of `luma`; outside the frame its border is repeated.

    Args:
        luma: the frame the face was found in.
        face: where.
        out: written and returned when given, for example a row of a batch (C order); otherwise a new array is returned.
    """
    crop_to_frame = inverse_similarity(crop_similarity(face))
    # Bilinear sampling would skip pixels of a large face, so that is first shrunk by area averaging.
    factor = round(scale_of(crop_to_frame))
    if factor > 1:
        luma, crop_to_frame = _shrink_around(luma, crop_to_frame, factor=factor)
    # OpenCV counts pixel centres in whole numbers, this package counts pixel edges.
    crop_to_frame[:, 2] += crop_to_frame[:, :2] @ [0.5, 0.5] - 0.5
    size = (CROP_SIZE_PIXELS, CROP_SIZE_PIXELS)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if out is None:
        out = np.empty(size, dtype=np.uint8)
    cv2.warpAffine(luma, crop_to_frame, size, dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return out


def crop_faces(frames: Sequence[Frame], faces: Sequence[Sequence[Face]]) -> Luma:
    """The crops of all faces of several frames, in order, as one full-range uint8 batch n×64×64."""
    num_crops = sum(len(found) for found in faces)
    batch = np.empty((num_crops, CROP_SIZE_PIXELS, CROP_SIZE_PIXELS), dtype=np.uint8)
    row = 0
    for frame, found in zip(frames, faces, strict=True):
        first = row
        for face in found:
            crop_face(frame.luma, face, out=batch[row])
            row += 1
        if not frame.is_full_range:
            batch[first:row] = frame.full_luma(batch[first:row])
    return batch


def _shrink_around(luma: Luma, crop_to_frame: Similarity, *, factor: int) -> tuple[Luma, Similarity]:
    """The part of the frame a crop shows, shrunk by a whole factor, and the transform into it."""
    side = CROP_SIZE_PIXELS
    corners = transform_points(crop_to_frame, [[0, 0], [side, 0], [0, side], [side, side]])
    # One shrunk pixel more on each side, for bilinear sampling at the rim; at least one block inside the frame.
    limits = np.array([luma.shape[1], luma.shape[0]])
    low = np.clip(np.floor(corners.min(axis=0)) - factor, 0, np.maximum(limits - factor, 0)).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + factor, np.minimum(low + factor, limits), limits).astype(int)
    # Whole blocks only: then averaging is exact and takes OpenCV's fast path.
    blocks = np.maximum((high - low) // factor, 1)
    high = np.minimum(low + blocks * factor, limits)
    part = luma[low[1] : high[1], low[0] : high[0]]
    shrunk = cv2.resize(part, (int(blocks[0]), int(blocks[1])), interpolation=cv2.INTER_AREA)
    scales = blocks / (high - low)
    to_part = crop_to_frame.copy()
    to_part[:, 2] -= low
    return np.asarray(shrunk, dtype=np.uint8), to_part * scales[:, None]
