"""Pure: YuNet's outputs → boxes, scores and landmarks in input pixels.

YuNet (Wu et al., 2023, doi:10.1007/s11633-023-1423-y) predicts for each cell of three grids (8, 16 and 32 pixels) a
class and an objectness score, a box and five landmarks relative to the cell; decoding as in OpenCV's FaceDetectorYN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from emostream.boxes import non_maximum_suppression
from emostream.detect.candidates import Candidates

STRIDES_PIXELS = (8, 16, 32)
OUTPUT_NAMES = tuple(f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in STRIDES_PIXELS)
"""Outputs of the network: float32, 1×cells×(1, 1, 4, 10), cells row by row."""

_MAX_CANDIDATES = 1000
_MAX_LOG_SIZE = 8.0


def decode_yunet(
    outputs: Mapping[str, npt.NDArray[np.float32]],
    *,
    input_width: int,
    min_score: float,
    max_iou: float,
    max_faces: int,
) -> Candidates:
    """Faces in one picture, best first.

    Args:
        outputs: the twelve outputs for one picture by name, each cells×channels.
        input_width: pixels; gives the number of columns of each grid.
        min_score: faces below are dropped.
        max_iou: of two faces that overlap more than this, the better is kept.
        max_faces: at most this many.
    """
    boxes, scores, landmarks = (
        np.concatenate(parts)
        for parts in zip(
            *(
                _decode_grid(outputs, stride, columns=input_width // stride, min_score=min_score)
                for stride in STRIDES_PIXELS
            ),
            strict=True,
        )
    )
    best = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    kept = best[non_maximum_suppression(boxes[best], scores[best], max_iou=max_iou, max_boxes=max_faces)]
    return Candidates(boxes=boxes[kept], scores=scores[kept], landmarks=landmarks[kept])


_Arrays = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating], npt.NDArray[np.floating]]


def _decode_grid(
    outputs: Mapping[str, npt.NDArray[np.float32]], stride: int, *, columns: int, min_score: float
) -> _Arrays:
    class_scores = np.clip(outputs[f"cls_{stride}"][:, 0], 0, 1)
    objectness = np.clip(outputs[f"obj_{stride}"][:, 0], 0, 1)
    all_scores = np.sqrt(class_scores * objectness)
    (cells,) = np.nonzero(all_scores > min_score)
    corners = np.stack([cells % columns, cells // columns], axis=1)

    shifts, log_sizes = np.split(outputs[f"bbox_{stride}"][cells], 2, axis=1)
    centres = (corners + shifts) * stride
    half_sizes = np.exp(np.minimum(log_sizes, _MAX_LOG_SIZE)) * stride / 2
    boxes = np.concatenate([centres - half_sizes, centres + half_sizes], axis=1)
    landmarks = (outputs[f"kps_{stride}"][cells].reshape(-1, 5, 2) + corners[:, None]) * stride
    return boxes, all_scores[cells], landmarks
