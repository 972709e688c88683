"""Only proper faces leave a detector, whatever its network says."""

import numpy as np
import pytest

from emostream.vision.detect.detector import Candidates
from emostream.vision.detect.letterbox import Letterbox

HALF = Letterbox.fit(frame_width=640, frame_height=360, input_width=320, input_height=192, max_scale=1.0)
GOOD_BOX, GOOD_LANDMARKS = [10.0, 20.0, 30.0, 50.0], np.full((5, 2), 25.0)


def candidates(*boxes: list[float], landmarks: float = 25.0) -> Candidates:
    return Candidates(np.array(boxes), np.linspace(0.9, 0.5, len(boxes)), np.full((len(boxes), 5, 2), landmarks))


def test_pixels_of_the_frame() -> None:
    (face,) = candidates(GOOD_BOX).to_faces(HALF)
    assert face.box_xyxy == (20, 40, 60, 100)
    assert face.landmarks == ((50, 50),) * 5
    assert face.score == pytest.approx(0.9)


@pytest.mark.parametrize(
    "bad",
    [[10.0, 20.0, 10.0, 50.0], [30.0, 20.0, 10.0, 50.0], [float("nan"), 0.0, 1.0, 1.0], [0.0, 0.0, float("inf"), 1.0]],
    ids=["empty", "inside out", "nan", "infinite"],
)
def test_improper_boxes_are_left_out(bad: list[float]) -> None:
    faces = candidates(bad, GOOD_BOX).to_faces(HALF)
    assert [face.box_xyxy for face in faces] == [(20, 40, 60, 100)]


def test_improper_landmarks_are_left_out() -> None:
    assert candidates(GOOD_BOX, landmarks=float("nan")).to_faces(HALF) == []
