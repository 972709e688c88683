"""Pure: CenterFace's output maps → boxes, scores and landmarks in input pixels.

CenterFace (Xu et al., 2019, arXiv:1911.03599) predicts for each 4×4 cell whether a face has its centre there, the log
of its size, the centre's offset in the cell and five landmarks relative to the box.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emostream.boxes import non_maximum_suppression
from emostream.detect.candidates import Candidates

INPUT_NAME = "luma"
"""Prepared input: uint8, n×H×W, gray; H and W multiples of `STRIDE_PIXELS`."""

OUTPUT_CHANNELS = {"heatmap": 1, "scale": 2, "offset": 2, "landmarks": 10}
"""Prepared outputs: float32, n×channels×H/4×W/4."""

STRIDE_PIXELS = 32
"""The network halves its input five times and adds the levels up again."""

_CELL_PIXELS = 4
_MAX_CANDIDATES = 1000  # before suppression, whose cost grows with the square; a crowd has some hundred
_MAX_LOG_SIZE = 8.0  # 4·e⁸ pixels is larger than any input: an untrained or damaged model must not overflow


def decode_centerface(
    heatmap: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    offset: npt.NDArray[np.float32],
    landmarks: npt.NDArray[np.float32],
    *,
    min_score: float,
    max_iou: float,
    max_faces: int,
) -> Candidates:
    """Faces in one picture, best first.

    Args:
        heatmap: 1×rows×columns, 0…1.
        scale: 2×rows×columns, log of height and width in cells.
        offset: 2×rows×columns, y and x in cells.
        landmarks: 10×rows×columns, five times y and x, from the box's top left corner in units of its height and width.
        min_score: faces below are dropped.
        max_iou: of two faces that overlap more than this, the better is kept.
        max_faces: at most this many.
    """
    rows, columns = np.nonzero(heatmap[0] > min_score)
    scores = heatmap[0, rows, columns]
    if len(scores) > _MAX_CANDIDATES:
        best = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
        rows, columns, scores = rows[best], columns[best], scores[best]
    heights, widths = np.exp(np.minimum(scale[:, rows, columns], _MAX_LOG_SIZE)) * _CELL_PIXELS
    offsets_y, offsets_x = offset[:, rows, columns]
    x0 = (columns + offsets_x + 0.5) * _CELL_PIXELS - widths / 2
    y0 = (rows + offsets_y + 0.5) * _CELL_PIXELS - heights / 2
    boxes = np.stack([x0, y0, x0 + widths, y0 + heights], axis=1)

    kept = non_maximum_suppression(boxes, scores, max_iou=max_iou, max_boxes=max_faces)
    points_yx = landmarks[:, rows[kept], columns[kept]].T.reshape(-1, 5, 2)
    corners = np.stack([x0[kept], y0[kept]], axis=1)[:, None]
    sides = np.stack([widths[kept], heights[kept]], axis=1)[:, None]
    return Candidates(boxes=boxes[kept], scores=scores[kept], landmarks=points_yx[..., ::-1] * sides + corners)
