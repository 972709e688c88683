"""What every detector must do, as a check that plugin authors run in their tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from emostream.domain.frame import Luma
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.engines.reference_inputs import reference_frame

# Height×width of pictures that occur and must not break a detector.
_ODD_SHAPES = ((1, 1), (16, 16), (2, 3000), (3000, 2), (33, 31), (0, 10))


def check_detector(detector: FaceDetector) -> None:
    """Use a detector as the pipeline does.

    Checks that: it has a name; faces of the golden frame are found, the best first, with five landmarks and a score in
    0…1; a picture without a face, or of no size, gives none; pictures of any shape are searched; they may be read-only
    or a view, and are not written to; calls from several threads do not disturb each other.

    Raises:
        AssertionError: the detector breaks the contract.
    """
    _require(bool(detector.name), "a detector needs a name")
    frame = reference_frame()
    _check_faces(detector, frame)
    for shape in _ODD_SHAPES:
        _require(detector.detect(np.full(shape, 90, np.uint8)) == [], f"a flat picture {shape} must give no face")
    _check_input(detector, frame)
    frames = [np.roll(frame, 8 * shift, axis=1) for shift in range(8)]
    expected = [detector.detect(shifted) for shifted in frames]
    with ThreadPoolExecutor(4) as pool:
        _require(list(pool.map(detector.detect, frames)) == expected, "calls from several threads disturb each other")


def _check_faces(detector: FaceDetector, frame: Luma) -> None:
    faces = detector.detect(frame)
    _require(bool(np.array_equal(frame, reference_frame())), "the picture was written to")
    _require(len(faces) > 0, "no face was found in the golden frame, which has several")
    scores = [face.score for face in faces]
    _require(scores == sorted(scores, reverse=True), f"the best face must come first, got scores {scores}")
    _require(all(0 <= score <= 1 for score in scores), f"scores must be in 0…1, got {scores}")
    height, width = frame.shape
    for face in faces:
        x0, y0, x1, y1 = face.box_xyxy
        _require(x1 > 0 and y1 > 0 and x0 < width and y0 < height, f"box {face.box_xyxy} lies outside the frame")
        _require(len(face.landmarks) == 5, f"expected five landmarks, got {len(face.landmarks)}")
        _require(face.track_id is None, "track ids are given by the tracker")


def _check_input(detector: FaceDetector, frame: Luma) -> None:
    expected = detector.detect(frame)
    padded = np.zeros((frame.shape[0], frame.shape[1] + 64), np.uint8)
    view = padded[:, : frame.shape[1]]
    view[:] = frame
    view.flags.writeable = False
    _require(detector.detect(view) == expected, "a read-only view gives other faces than the same picture whole")


def _require(is_so: bool, message: str) -> None:
    if not is_so:
        raise AssertionError(message)
