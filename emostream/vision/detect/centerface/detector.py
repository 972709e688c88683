"""CenterFace (Xu et al. 2019, arXiv:1911.03599), the default detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.detect.detector import Candidates, DetectorNetwork
from emostream.vision.detect.letterbox import Letterbox, choose_letterbox
from emostream.vision.engines.ort_network import OrtNetwork
from emostream.vision.geometry.boxes import non_maximum_suppression

INPUT_NAME = "luma"
"""Prepared input: uint8, n×H×W, gray; H and W multiples of `STRIDE_PIXELS`."""

OUTPUT_CHANNELS = {"heatmap": 1, "scale": 2, "offset": 2, "landmarks": 10}
"""Prepared outputs: float32, n×channels×H/4×W/4."""

STRIDE_PIXELS = 32
"""The network halves its input five times and adds the levels together again."""

_CELL_PIXELS = 4
_MAX_CANDIDATES = 1000  # before suppression, whose cost is quadratic; a crowd has a few hundred
_MAX_LOG_SIZE = 8.0  # 4·e⁸ pixels is larger than any input; a damaged model must not cause an overflow


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
    """Decode the network's outputs for one picture to faces, best first.

    Args:
        heatmap: 1×rows×columns, 0…1.
        scale: 2×rows×columns, log of height and width in cells.
        offset: 2×rows×columns, y and x in cells.
        landmarks: 10×rows×columns, five times y and x, from the box's top left corner in units of its height and width.
        min_score: faces with a lower score are dropped.
        max_iou: of two faces that overlap more than this, the one with the lower score is dropped.
        max_faces: largest number of faces returned.
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


# Share of faces found by their height in the input (shared test clips and pictures at twelve scales, 2,676 faces,
# at scores 0.3 / 0.5): 14–16 px 56 / 23 %, 16–18 px 73 / 44 %, 18–20 px 93 / 65 %, 20–24 px 100 / 94 %, larger ≥ 90 %.
SMALLEST_FOUND_PIXELS = 20.0
"""Height in the input of the smallest face that is reliably found."""

# Enlarging helps: of 48 classroom faces 11–17 pixels high, 12 are found at original size and all 48 at 1.7 times it.
_MAX_SCALE = 2.0

# Frames up to this size are searched at full size: people in small clips are small, and shrinking would save little. It
# is what 640×360 needs for faces of 32 pixels; at 480×270 a search took 14 % longer and agreed no better.
_MIN_INPUT_PIXELS = 416 * 234

DEFAULT_MAX_INPUT_PIXELS = 640 * 384
"""Takes about 50 ms on one core. In a 1080p frame this finds faces of 60 pixels and more."""


@dataclass(frozen=True, slots=True)
class CenterFaceInput:
    """How large the network's input is for frames of any size.

    Attributes:
        min_face_pixels: height of the smallest face to find; the input is as small as that allows.
        max_input_pixels: limit of the cost per picture; larger frames are shrunk further, and only larger faces found.
        max_side_pixels: longest side that the network takes; longer frames are shrunk further. None is no limit.
    """

    min_face_pixels: float
    max_input_pixels: int = DEFAULT_MAX_INPUT_PIXELS
    max_side_pixels: int | None = None

    def letterbox(self, width: int, height: int) -> Letterbox:
        """How a frame of this size (in pixels) is placed in the input."""
        letterbox = choose_letterbox(
            frame_width=width,
            frame_height=height,
            min_face_pixels=self.min_face_pixels,
            smallest_found_pixels=SMALLEST_FOUND_PIXELS,
            stride=STRIDE_PIXELS,
            max_input_pixels=self.max_input_pixels,
            min_input_pixels=_MIN_INPUT_PIXELS,
            max_scale=_MAX_SCALE,
        )
        limit = self.max_side_pixels
        if limit is None or max(letterbox.input_width, letterbox.input_height) <= limit:
            return letterbox
        return Letterbox.fit(
            frame_width=width,
            frame_height=height,
            input_width=min(letterbox.input_width, limit),
            input_height=min(letterbox.input_height, limit),
            max_scale=_MAX_SCALE,
        )

    def smallest_face_pixels(self, width: int, height: int) -> float:
        """Height of the smallest face that is reliably found in a frame of this size, in its pixels."""
        return SMALLEST_FOUND_PIXELS / self.letterbox(width, height).scale_y


class CenterFaceDetector:
    """Finds faces with five landmarks by CenterFace on luma. Thread-safe.

    Args:
        model: the prepared file (`emostream.vision.detect.centerface.model`), run by ONNX Runtime; or another
            implementation of the network.
        min_face_pixels: height of the smallest face to find; the network's input is as small as that allows.
        min_score: faces with a lower score are dropped.
        max_iou: of two faces that overlap more than this, the one with the lower score is dropped.
        max_faces: largest number of faces per picture.
        max_input_pixels: limit of the cost per picture; larger frames are shrunk further, and only larger faces found.
        max_input_side_pixels: longest side that the network takes; longer frames are shrunk further.
        num_threads: threads per picture in ONNX Runtime.

    Raises:
        ManifestError: the file is damaged or not the prepared CenterFace model.
    """

    name = "centerface"

    def __init__(
        self,
        model: Path | DetectorNetwork,
        *,
        min_face_pixels: float,
        min_score: float,
        max_iou: float,
        max_faces: int,
        max_input_pixels: int = DEFAULT_MAX_INPUT_PIXELS,
        max_input_side_pixels: int | None = None,
        num_threads: int = 1,
    ) -> None:
        if isinstance(model, Path):
            model = OrtNetwork(model, path=model, kind="the prepared CenterFace detector", num_threads=num_threads)
        self._network = model
        self._network.check(input_name=INPUT_NAME, output_names=list(OUTPUT_CHANNELS))
        self._input = CenterFaceInput(min_face_pixels, max_input_pixels, max_input_side_pixels)
        self._min_score = min_score
        self._max_iou = max_iou
        self._max_faces = max_faces

    def detect(self, luma: Luma) -> list[Face]:
        """Faces in a gray picture, best score first; see `FaceDetector.detect`."""
        if luma.size == 0:
            return []
        letterbox = self._input.letterbox(luma.shape[1], luma.shape[0])
        (candidates,) = self.search([letterbox.shrink(luma)])
        return candidates.to_faces(letterbox)

    def smallest_face_pixels(self, width: int, height: int) -> float:
        """See `SizedDetector`."""
        return self._input.smallest_face_pixels(width, height)

    def search(self, pictures: Sequence[Luma]) -> list[Candidates]:
        """Search network inputs; those of the same shape are computed in one batch.

        Args:
            pictures: uint8, H×W, as shrunk by `CenterFaceInput`; at least one.

        Returns:
            The candidates of each picture, in input pixels.

        Raises:
            InferenceError: the network could not be run.
        """
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            by_shape.setdefault(picture.shape, []).append(index)
        found: dict[int, Candidates] = {}
        for indexes in by_shape.values():
            batch = np.stack([pictures[index] for index in indexes])
            maps = self._network.run(batch, output_names=list(OUTPUT_CHANNELS))
            for place, index in enumerate(indexes):
                found[index] = self._decode([output[place] for output in maps])
        return [found[index] for index in range(len(pictures))]

    def close(self) -> None:
        """Release the memory of a GPU; nothing to do for ONNX Runtime. Safe to call twice."""
        close = getattr(self._network, "close", None)
        if close is not None:
            close()

    def _decode(self, maps: Sequence[npt.NDArray[np.float32]]) -> Candidates:
        return decode_centerface(*maps, min_score=self._min_score, max_iou=self._max_iou, max_faces=self._max_faces)
