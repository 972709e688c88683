"""Where the detector's landmarks lie in the pictures the classifier is trained on: the template of `align.py`.

    python -m training.template --data ../shared/data/fer2013

prints the box and the five points to copy into `emostream/vision/detect/align.py`, and how many pictures they come
from.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.config import DetectSettings, load_settings
from emostream.domain.face import Face
from emostream.vision.detect.align import CROP_SIZE_PIXELS
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.detect.load import load_detector
from training.data.load import load_faces

# A face of a usual size in a usual frame. At 96 and 160 pixels the medians differ by less than a pixel of the crop.
PICTURE_SIDE_PIXELS = 128
FRAME_WIDTH_PIXELS, FRAME_HEIGHT_PIXELS = 320, 256
# Around the picture; repeating or mirroring its border finds fewer faces (83 and 89 % against 98 %), since hair and
# chin then run on without end, with the same medians.
_BACKGROUND_LEVEL = 128

# Eyes and corners of the mouth change places in a mirrored face.
_MIRRORED_ORDER = [1, 0, 2, 4, 3]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Where box and landmarks lie.

    Attributes:
        box: float, 4, x0, y0, x1, y1 in pixels of the crop.
        landmarks: float, 5×2, x and y in pixels of the crop.
        num_found: pictures in which a face was found.
        num_pictures: pictures looked at.
    """

    box: npt.NDArray[np.float64]
    landmarks: npt.NDArray[np.float64]
    num_found: int
    num_pictures: int


def frame_with_picture(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A gray picture of a face, enlarged and put in the middle of a frame (uint8, H×W)."""
    frame = np.full((FRAME_HEIGHT_PIXELS, FRAME_WIDTH_PIXELS), _BACKGROUND_LEVEL, dtype=np.uint8)
    left, top = picture_corner()
    side = PICTURE_SIDE_PIXELS
    frame[top : top + side, left : left + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
    return frame


def picture_corner() -> tuple[int, int]:
    """Left and top of the picture in its frame, in pixels."""
    return (FRAME_WIDTH_PIXELS - PICTURE_SIDE_PIXELS) // 2, (FRAME_HEIGHT_PIXELS - PICTURE_SIDE_PIXELS) // 2


def find_face(detector: FaceDetector, frame: npt.NDArray[np.uint8]) -> Face | None:
    """The best face whose box covers the middle of the frame, if any."""
    x, y = FRAME_WIDTH_PIXELS / 2, FRAME_HEIGHT_PIXELS / 2
    for face in detector.detect(frame):
        x0, y0, x1, y1 = face.box_xyxy
        if x0 < x < x1 and y0 < y < y1:
            return face
    return None


def measure_template(detector: FaceDetector, pictures: Iterable[npt.NDArray[np.uint8]]) -> Template:
    """The median box and landmarks over pictures, in crop pixels, made symmetric."""
    found = []
    num_pictures = 0
    for picture in pictures:
        num_pictures += 1
        face = find_face(detector, frame_with_picture(picture))
        if face is not None:
            found.append(np.concatenate([np.reshape(face.box_xyxy, (2, 2)), face.landmarks]))
    if not found:
        raise ValueError(f"no face found in {num_pictures} pictures; is this the right data and detector?")
    points = (np.median(found, axis=0) - picture_corner()) * (CROP_SIZE_PIXELS / PICTURE_SIDE_PIXELS)
    left, right = symmetric(points[:2], order=[1, 0])[:, 0]
    return Template(
        box=np.array([left, points[0, 1], right, points[1, 1]]),
        landmarks=symmetric(points[2:], order=_MIRRORED_ORDER),
        num_found=len(found),
        num_pictures=num_pictures,
    )


def symmetric(points: npt.NDArray[np.float64], *, order: Sequence[int]) -> npt.NDArray[np.float64]:
    """The mean of points and their mirror image, where they come in this order: a template must not prefer a side."""
    mirrored = points[list(order)] * [-1, 1] + [CROP_SIZE_PIXELS, 0]
    return np.asarray((points + mirrored) / 2)


def open_detector(model_path: Path | None) -> FaceDetector:
    """The product's default detector; from the model store unless a file is given."""
    if model_path is None:
        from emostream.vision.models.store import ModelStore

        model_path = ModelStore(load_settings().models).path_of("centerface")
    return load_detector(DetectSettings(), model_path=model_path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="FER2013 in any form `training.data.load` reads")
    parser.add_argument("--split", default="training", help="split to measure on")
    parser.add_argument("--num-pictures", type=int, default=4000, help="pictures to measure, spread over the split")
    parser.add_argument("--detector", type=Path, help="prepared CenterFace file; default: the model store")
    arguments = parser.parse_args()

    faces = load_faces(arguments.data, split=arguments.split).without_blank()
    chosen = np.unique(np.linspace(0, len(faces) - 1, arguments.num_pictures).astype(int))
    template = measure_template(open_detector(arguments.detector), tqdm(faces.pictures[chosen], unit="picture"))
    print(f"faces found in {template.num_found} of {template.num_pictures} pictures")
    print(f"box {json.dumps(template.box.round(1).tolist())}")
    print(f"landmarks {json.dumps(template.landmarks.round(1).tolist())}")


if __name__ == "__main__":
    main()
