"""How often does the flag `occluded` find a covered face, and how often is it raised over an open one?

    python -m tests.benchmarks.occlusion --data ../shared/data

Sunglasses, masks and hands are drawn over the faces of pictures and clips before detection, each in a random shade;
faces of at least 40 pixels that are found again are counted. Open faces are the same pictures untouched, and FER2013
Training pictures. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.classify.quality import quality_by_itself
from emostream.vision.detect.align import crop_face
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.geometry.boxes import iou_matrix
from tests.vision.detect.real_model import real_detector
from tests.vision.detect.test_on_pictures import load_pictures

Points = npt.NDArray[np.float64]
Cover = Callable[[Luma, Face, np.random.Generator], Luma]

_FRAMES_APART = 12
_SHEET_COLUMNS, _SHEET_SIDE = 170, 48
_MIN_IOU = 0.4


def axes_of(face: Face) -> tuple[Points, float, Points, Points]:
    """Landmarks, distance of the eyes, and unit vectors along and across their line."""
    points = np.array(face.landmarks)
    eyes = points[1] - points[0]
    distance = float(np.hypot(*eyes))
    along = eyes / distance
    return points, distance, along, np.array([-along[1], along[0]])


def paint(luma: Luma, corners: Points, level: npt.NDArray[np.float64] | float, chance: np.random.Generator) -> Luma:
    """The picture with a polygon of a level, slightly soft at its border, with some noise."""
    shape = np.zeros(luma.shape, np.float32)
    cv2.fillPoly(shape, [np.round(corners).astype(np.int32)], 1.0)
    shape = np.asarray(cv2.GaussianBlur(shape, (0, 0), 0.8), np.float32)
    painted = luma * (1 - shape) + (level + chance.normal(0, 2, luma.shape)) * shape
    return np.clip(painted, 0, 255).astype(np.uint8)


def sunglasses(luma: Luma, face: Face, chance: np.random.Generator) -> Luma:
    """Two dark glasses."""
    points, distance, along, across = axes_of(face)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]
    rim = distance * (0.42 * np.cos(angles) * along + 0.32 * np.sin(angles) * across)
    level = float(chance.uniform(8, 50))
    for eye in points[:2]:
        luma = paint(luma, eye + rim, level, chance)
    return luma


def mask(luma: Luma, face: Face, chance: np.random.Generator) -> Luma:
    """Cloth with folds over nose and mouth, of any shade."""
    points, distance, along, across = axes_of(face)
    nose, mouth = points[2], (points[3] + points[4]) / 2
    right, down = distance * along, distance * across
    corners = np.array(
        [
            nose - 0.95 * right,
            nose - 0.15 * down,
            nose + 0.95 * right,
            mouth + 0.75 * right + 0.35 * down,
            mouth + 0.75 * down,
            mouth - 0.75 * right + 0.35 * down,
        ]
    )
    sideways, downwards = places(luma, mouth, along / distance, across / distance)
    level = chance.uniform(30, 230) + chance.uniform(-20, 20) * sideways + 6 * np.sin(downwards * 2 * np.pi / 0.35)
    return paint(luma, corners, level, chance)


def hand(luma: Luma, face: Face, chance: np.random.Generator) -> Luma:
    """Fingers as bright as the cheeks before the mouth."""
    points, distance, along, across = axes_of(face)
    mouth = (points[3] + points[4]) / 2
    right, down = distance * along, distance * across
    corners = np.array(
        [
            mouth - 0.9 * right - 0.25 * down,
            mouth + 0.9 * right - 0.35 * down,
            mouth + right + 0.6 * down,
            mouth - 0.9 * right + 0.7 * down,
        ]
    )
    limits = np.array(luma.shape[::-1]) - 1
    cheeks = [np.clip(points[2] + sign * 0.4 * right, 0, limits).astype(int) for sign in (-1, 1)]
    _, downwards = places(luma, mouth, along / distance, across / distance)
    level = np.mean([luma[y, x] for x, y in cheeks]) + 14 * np.abs(np.sin(downwards * np.pi / 0.28)) - 7
    return paint(luma, corners, level, chance)


def places(luma: Luma, origin: Points, along: Points, across: Points) -> tuple[Points, Points]:
    """Of each pixel: how far from the origin along and across, in eye distances."""
    y, x = np.mgrid[: luma.shape[0], : luma.shape[1]]
    x, y = x - origin[0], y - origin[1]
    return x * along[0] + y * along[1], x * across[0] + y * across[1]


COVERS: dict[str, Cover] = {"sunglasses": sunglasses, "mask": mask, "hand": hand}


def pictures(data: Path) -> Iterator[Luma]:
    """Still pictures, and a frame of the clips now and then."""
    for picture in load_pictures(data / "faces"):
        yield picture.luma
    for path in sorted((data / "videos").iterdir()):
        clip = cv2.VideoCapture(str(path))
        index = 0
        while (frame := clip.read())[0]:
            if index % _FRAMES_APART == 0:
                yield np.asarray(cv2.cvtColor(frame[1], cv2.COLOR_BGR2GRAY), np.uint8)
            index += 1


def fer2013_pictures(data: Path, *, num: int) -> Iterator[Luma]:
    """Training pictures, enlarged and bordered as the detector needs them."""
    sheet = np.asarray(cv2.imread(str(data / "fer2013" / "training.png"), cv2.IMREAD_GRAYSCALE), np.uint8)
    for index in np.random.default_rng(5).permutation(28_000)[:num]:
        row, column = divmod(int(index), _SHEET_COLUMNS)
        top, left = row * _SHEET_SIDE, column * _SHEET_SIDE
        picture = cv2.resize(sheet[top : top + _SHEET_SIDE, left : left + _SHEET_SIDE], (128, 128))
        yield np.asarray(cv2.copyMakeBorder(picture, 32, 32, 32, 32, cv2.BORDER_REPLICATE), np.uint8)


def is_flagged(luma: Luma, face: Face) -> bool:
    """What the pipeline would say."""
    height, width = luma.shape
    quality = quality_by_itself(face, crop_face(luma, face, size=48), frame_width=width, frame_height=height)
    return "occluded" in quality.flags


def found_again(detector: FaceDetector, luma: Luma, face: Face) -> Face | None:
    """The face in the changed picture."""
    found = detector.detect(luma)
    if not found:
        return None
    overlap = iou_matrix(np.array([face.box_xyxy]), np.array([other.box_xyxy for other in found]))[0]
    best = int(overlap.argmax())
    return found[best] if overlap[best] >= _MIN_IOU else None


def measure(data: Path, *, num_fer2013: int) -> dict[str, dict[str, float]]:
    """Faces looked at and the share that was flagged, by what covers them."""
    detector = real_detector(min_face_pixels=20)
    chance = np.random.default_rng(0)
    flagged: dict[str, list[bool]] = {"open": [], **{name: [] for name in COVERS}, "open_fer2013": []}
    for luma in pictures(data):
        for face in detector.detect(luma):
            if face.height < 40:
                continue
            flagged["open"].append(is_flagged(luma, face))
            for name, cover in COVERS.items():
                covered = cover(luma, face, chance)
                if (again := found_again(detector, covered, face)) is not None:
                    flagged[name].append(is_flagged(covered, again))
    for luma in fer2013_pictures(data, num=num_fer2013):
        if found := detector.detect(luma):
            flagged["open_fer2013"].append(is_flagged(luma, max(found, key=lambda face: face.height)))
    return {name: {"faces": len(flags), "flagged": round(float(np.mean(flags)), 3)} for name, flags in flagged.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--fer2013", type=int, default=2500, help="number of FER2013 pictures")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.data, num_fer2013=arguments.fer2013), indent=2))


if __name__ == "__main__":
    main()
