"""The real detector on real pictures with annotated faces: a smoke test, not a benchmark."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from emostream.domain.frame import Luma
from emostream.vision.geometry.boxes import Boxes, iou_matrix
from tests.vision.detect.real_model import real_detector

# The annotations are squares from brows to chin; the detector's boxes reach from hairline to chin.
MIN_IOU = 0.4


@dataclass(frozen=True)
class Picture:
    """A picture and its annotated faces."""

    luma: Luma
    boxes: Boxes
    ignored: Boxes


def load_pictures(folder: Path) -> list[Picture]:
    """The pictures named in dlib's annotation files, where they are present."""
    pictures = []
    for file_name in ("training.xml", "testing.xml"):
        for image in ET.parse(folder / file_name).getroot().iter("image"):
            path = folder / image.attrib["file"]
            if path.exists():
                luma = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
                pictures.append(Picture(luma, boxes_of(image, ignored=False), boxes_of(image, ignored=True)))
    return pictures


def boxes_of(image: ET.Element, *, ignored: bool) -> Boxes:
    """The annotated boxes of one picture."""
    boxes = []
    for box in image.iter("box"):
        left, top, width, height = (float(box.attrib[name]) for name in ("left", "top", "width", "height"))
        if (box.attrib.get("ignore", "0") == "1") == ignored:
            boxes.append([left, top, left + width, top + height])
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


@pytest.mark.slow
def test_recall_and_false_hits(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detector = real_detector(min_face_pixels=20)
    num_annotated = num_found = num_false = 0
    for picture in load_pictures(shared_data / "faces"):
        faces = np.array([face.box_xyxy for face in detector.detect(picture.luma)]).reshape(-1, 4)
        is_hit = iou_matrix(picture.boxes, faces) >= MIN_IOU
        is_ignored = (iou_matrix(picture.ignored, faces) >= MIN_IOU).any(axis=0)
        num_annotated += len(picture.boxes)
        num_found += int(is_hit.any(axis=1).sum())
        num_false += int((~is_hit.any(axis=0) & ~is_ignored).sum())
    with capsys.disabled():
        print(f"\nfaces found {num_found} of {num_annotated}, hits without annotation {num_false}")
    assert num_annotated >= 40
    assert num_found >= 0.9 * num_annotated
    assert num_false <= 0.1 * num_annotated
