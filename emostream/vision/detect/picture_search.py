"""Finds the faces of a still picture, which has no deadline: in parts, until none is too small, and turned.

A detector shrinks what it searches to a bounded input, so that a frame of a video is searched in time; in a photo of
12 megapixels that leaves faces of 141 pixels and more. Here the picture is also searched in overlapping tiles, at
several scales (an image pyramid), and turned by quarters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.detect.detector import FaceDetector, smallest_face_pixels
from emostream.vision.detect.quarter_turns import QUARTERS, turned_back, turned_picture
from emostream.vision.geometry.boxes import Boxes, areas, intersection_matrix, non_maximum_suppression

# From one scale to the next. Tiles must overlap by the faces that only they find, so larger steps cost overlap.
_MAX_SCALE_STEP = 2.5
# Of the height of the largest face that only tiles of this scale find: its surroundings count for the detector.
_OVERLAP_PER_FACE = 1.5
_MIN_TILE_PIXELS = 64
_ROUNDING = 1.02  # inputs have whole pixels
# A face so near to the inner border of a tile, as a share of its height, is seen whole by the next tile.
_BORDER_PER_FACE = 0.1
# A box that lies in a larger one by this share of its own area, and has less than half its size, is a part of a face.
_MAX_SHARE_INSIDE = 0.7
_MIN_TIMES_LARGER = 2.0
# In 253 pictures without faces, turned by three quarters each, two detections were above 0.3, none above 0.45; of heads
# at any angle 95 to 100 % are above 0.5 in the best of the four.
_MIN_TURNED_SCORE = 0.5
# Tiles are many more searches, each of which may be wrong, so they must be a little surer than a search of the whole.
_MIN_TILE_SCORE = 0.4
_MAX_MERGED = 2000  # faces; the cost is quadratic


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture that is searched by itself.

    Attributes:
        left: in pixels of the picture, as the others.
        top: first row.
        right: first column that is not part of it.
        bottom: first row that is not part of it.
    """

    left: int
    top: int
    right: int
    bottom: int


def tiles_of(
    width: int, height: int, *, min_face_pixels: float, smallest_face: Callable[[int, int], float]
) -> list[Tile]:
    """The tiles in which, beside the whole picture, all faces from `min_face_pixels` on can be found.

    Args:
        width: of the picture.
        height: of the picture.
        min_face_pixels: height of the smallest face that is wanted.
        smallest_face: height of the smallest face that a detector finds in a picture of this width and height.

    Returns:
        Tiles of falling size; none where the whole picture shows such faces large enough, or where no tile would.
    """
    found_in_whole = smallest_face(width, height)
    wanted = max(min_face_pixels, smallest_face(_MIN_TILE_PIXELS, _MIN_TILE_PIXELS))
    if found_in_whole <= wanted * _ROUNDING:
        return []
    num_scales = math.ceil(math.log(found_in_whole / wanted) / math.log(_MAX_SCALE_STEP))
    step = (found_in_whole / wanted) ** (1 / num_scales)
    tiles: list[Tile] = []
    for scale in reversed(range(num_scales)):
        smallest = wanted * step**scale
        side = _largest_side(smallest, smallest_face=smallest_face, limit=max(width, height))
        overlap = min(math.ceil(smallest * step * _OVERLAP_PER_FACE), side // 2)
        tiles += (
            Tile(left, top, min(left + side, width), min(top + side, height))
            for top in _starts(height, side=side, overlap=overlap)
            for left in _starts(width, side=side, overlap=overlap)
        )
    return tiles


def _largest_side(smallest: float, *, smallest_face: Callable[[int, int], float], limit: int) -> int:
    """The side of the largest square in which a face of this height is found, by bisection."""
    low, high = _MIN_TILE_PIXELS, max(limit, _MIN_TILE_PIXELS)
    while low < high:
        middle = (low + high + 1) // 2
        if smallest_face(middle, middle) <= smallest * _ROUNDING:
            low = middle
        else:
            high = middle - 1
    return low


def _starts(length: int, *, side: int, overlap: int) -> list[int]:
    """Where tiles of this side begin, evenly spaced from border to border."""
    if length <= side:
        return [0]
    num_tiles = math.ceil((length - overlap) / (side - overlap))
    return [round(index * (length - side) / (num_tiles - 1)) for index in range(num_tiles)]


class PictureSearch:
    """Searches one still picture. Called from one thread; it computes in several.

    Args:
        detector: shared; a plugin's that does not say which faces it finds (`SizedDetector`) searches no tiles.
        min_face_pixels: height of the smallest face to find.
        min_score: faces with a lower score are dropped.
        max_iou: of two faces that overlap more than this, the one with the lower score is dropped.
        max_faces: largest number of faces returned.
        is_turned: whether to look for heads that lie on their side or stand upside down. In tiles they are looked for
            only where no upright face is found, so a picture with faces costs three more searches and no more tiles.
        num_threads: searches at once.

    Attributes:
        num_left_out: faces that were found beyond `max_faces`, once `detect` has returned.
    """

    def __init__(
        self,
        detector: FaceDetector,
        *,
        min_face_pixels: float,
        min_score: float,
        max_iou: float,
        max_faces: int,
        is_turned: bool = True,
        num_threads: int = 1,
    ) -> None:
        self._detector = detector
        self._min_face_pixels = min_face_pixels
        self._min_score = min_score
        self._max_iou = max_iou
        self._max_faces = max_faces
        self._is_turned = is_turned
        self._num_threads = num_threads
        self.num_left_out = 0

    def detect(self, luma: Luma) -> list[Face]:
        """All faces in a gray picture (uint8, H×W), best score first, in its pixels.

        Raises:
            InferenceError: it could not be searched.
        """
        if luma.size == 0:
            return []
        with ThreadPoolExecutor(self._num_threads, "emostream-picture") as threads:
            found = list(self._searched(luma, threads, in_tiles=True))
            if self._is_turned:
                is_good = any(face.score >= _MIN_TURNED_SCORE for faces in found for face in faces)
                found += self._turned(luma, threads, in_tiles=not is_good)
        faces = merged(found, max_iou=self._max_iou)
        self.num_left_out = max(len(faces) - self._max_faces, 0)
        return faces[: self._max_faces]

    def _turned(self, luma: Luma, threads: Executor, *, in_tiles: bool) -> Iterator[list[Face]]:
        height, width = luma.shape
        for quarters in QUARTERS:
            for faces in self._searched(turned_picture(luma, quarters), threads, in_tiles=in_tiles):
                good = [face for face in faces if face.score >= max(_MIN_TURNED_SCORE, self._min_score)]
                yield turned_back(good, quarters, width=width, height=height)

    def _searched(self, luma: Luma, threads: Executor, *, in_tiles: bool) -> Iterable[list[Face]]:
        """The faces of the whole picture, then those of each tile."""
        height, width = luma.shape
        tiles: list[Tile] = []
        if in_tiles and smallest_face_pixels(self._detector, width, height) is not None:
            tiles = tiles_of(
                width,
                height,
                min_face_pixels=self._min_face_pixels,
                smallest_face=lambda across, down: smallest_face_pixels(self._detector, across, down) or 0.0,
            )
        whole = Tile(0, 0, width, height)
        return threads.map(lambda tile: self._in_tile(luma, tile), [whole, *tiles])

    def _in_tile(self, luma: Luma, tile: Tile) -> list[Face]:
        height, width = luma.shape
        faces = self._detector.detect(luma[tile.top : tile.bottom, tile.left : tile.right])
        if tile == Tile(0, 0, width, height):
            return faces
        moved = [_moved(face, tile.left, tile.top) for face in faces if face.score >= _MIN_TILE_SCORE]
        return [face for face in moved if _is_whole(face, tile, width=width, height=height)]


def _moved(face: Face, left: float, top: float) -> Face:
    x0, y0, x1, y1 = face.box_xyxy
    return replace(
        face,
        box_xyxy=(x0 + left, y0 + top, x1 + left, y1 + top),
        landmarks=tuple((x + left, y + top) for x, y in face.landmarks),
    )


def _is_whole(face: Face, tile: Tile, *, width: int, height: int) -> bool:
    """Whether no border inside the picture may have cut it."""
    x0, y0, x1, y1 = face.box_xyxy
    margin = _BORDER_PER_FACE * face.height
    return (
        (tile.left == 0 or x0 >= tile.left + margin)
        and (tile.top == 0 or y0 >= tile.top + margin)
        and (tile.right == width or x1 <= tile.right - margin)
        and (tile.bottom == height or y1 <= tile.bottom - margin)
    )


def merged(found: Sequence[Sequence[Face]], *, max_iou: float) -> list[Face]:
    """The faces of several searches of one picture, each once, best score first.

    Of boxes on the same face that with the best score stays. A box that is a part of a larger face, found by another
    search, is dropped whatever its score: a tile that a face fills may show a face in its eye.

    Args:
        found: faces by search, in pixels of the picture.
        max_iou: largest overlap of two faces.
    """
    faces = [face for each in found for face in each]
    searches = np.repeat(np.arange(len(found)), [len(each) for each in found])
    scores = np.array([face.score for face in faces], dtype=np.float64)
    best = np.argsort(-scores, kind="stable")[:_MAX_MERGED]
    faces, searches, scores = [faces[index] for index in best], searches[best], scores[best]
    boxes = np.array([face.box_xyxy for face in faces], dtype=np.float64).reshape(-1, 4)
    whole = np.flatnonzero(~_is_part(boxes, scores, searches))
    kept = non_maximum_suppression(boxes[whole], scores[whole], max_iou=max_iou)
    return [faces[index] for index in whole[kept]]


def _is_part(boxes: Boxes, scores: npt.NDArray[np.float64], searches: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Which boxes lie in a much larger one that another search found and is sure of: bool, n."""
    sizes = areas(boxes)
    inside = intersection_matrix(boxes, boxes) > _MAX_SHARE_INSIDE * sizes[:, None]
    is_larger = sizes[None, :] > _MIN_TIMES_LARGER * sizes[:, None]
    is_other = searches[:, None] != searches[None, :]
    is_sure = scores[None, :] >= np.minimum(scores[:, None], _MIN_TURNED_SCORE)
    return np.asarray((inside & is_larger & is_other & is_sure).any(axis=1))
