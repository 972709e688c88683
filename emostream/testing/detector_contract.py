"""Conformance check for face detectors, for the tests of plugin authors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from emostream.domain.frame import Luma
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.engines.reference_inputs import reference_frame

# Shapes (height, width) that occur and must not break a detector.
_ODD_SHAPES = ((1, 1), (16, 16), (2, 3000), (3000, 2), (33, 31), (0, 10))


def check_detector(detector: FaceDetector) -> None:
    """Check that a detector behaves as the pipeline requires.

    Checks that: it has a name; faces of the reference frame are found, best score first, with five landmarks and scores
    in 0…1; a picture without a face, or of size 0, has none; pictures of any shape are searched; they may be read-only
    or views, and are not modified; calls from several threads do not affect each other.

    Raises:
        AssertionError: a check failed.
    """
    _require(bool(detector.name), "a detector needs a name")
    frame = reference_frame()
    _check_faces(detector, frame)
    for shape in _ODD_SHAPES:
        _require(detector.detect(np.full(shape, 90, np.uint8)) == [], f"a flat picture {shape} must have no faces")
    _check_input(detector, frame)
    frames = [np.roll(frame, 8 * shift, axis=1) for shift in range(8)]
    expected = [detector.detect(shifted) for shifted in frames]
    with ThreadPoolExecutor(4) as pool:
        _require(list(pool.map(detector.detect, frames)) == expected, "calls from several threads affect each other")


def _check_faces(detector: FaceDetector, frame: Luma) -> None:
    faces = detector.detect(frame)
    _require(bool(np.array_equal(frame, reference_frame())), "the picture was modified")
    _require(len(faces) > 0, "no face was found in the reference frame, which has several")
    scores = [face.score for face in faces]
    _require(scores == sorted(scores, reverse=True), f"the best face must come first, got scores {scores}")
    _require(all(0 <= score <= 1 for score in scores), f"scores must be in 0…1, got {scores}")
    height, width = frame.shape
    for face in faces:
        x0, y0, x1, y1 = face.box_xyxy
        _require(x1 > 0 and y1 > 0 and x0 < width and y0 < height, f"box {face.box_xyxy} lies outside the frame")
        _require(len(face.landmarks) == 5, f"expected five landmarks, got {len(face.landmarks)}")
        _require(face.track_id is None, "track ids must be None; the tracker assigns them")


def _check_input(detector: FaceDetector, frame: Luma) -> None:
    expected = detector.detect(frame)
    padded = np.zeros((frame.shape[0], frame.shape[1] + 64), np.uint8)
    view = padded[:, : frame.shape[1]]
    view[:] = frame
    view.flags.writeable = False
    _require(detector.detect(view) == expected, "a read-only view has other faces than the same picture as an array")


def _require(is_so: bool, message: str) -> None:
    if not is_so:
        raise AssertionError(message)
