"""When is the named emotion wrong? `python -m training.reliability --data ../shared/data/fer2013 --split held-out`.

Pictures are made worse, step by step: blurred, darkened, smaller, covered, cut off. For each step it prints the share
of right answers, what the quality flags say, and of how many faces an emotion is named. For what pictures have by
themselves (confidence, head pose, sharpness) it prints the share of right answers by its strength. The limits of
`emostream/vision/classify/quality.py` and `classify.min_confidence` come from these tables.

Answers are right where they are the majority of the FER+ votes; without votes, the label.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.config import ClassifySettings
from emostream.domain.emotion import EMOTIONS
from emostream.domain.face import Face
from emostream.errors import EmostreamError
from emostream.vision.classify.covers import covered_parts
from emostream.vision.classify.quality import Quality, quality_of, sharpness
from emostream.vision.detect.align import CROP_SIZE_PIXELS, TEMPLATE_LANDMARKS, crop_face
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.geometry.head_pose import head_poses
from training.data.face_set import FaceSet
from training.data.load import load_faces
from training.measure.corruptions import CORRUPTIONS, shrink_faces
from training.measure.evaluation import votes_and_majority
from training.measure.inference import SHIPPED_MODEL, OnnxModel
from training.measure.robustness import spread_subset
from training.tools.template import (
    FRAME_HEIGHT_PIXELS,
    FRAME_WIDTH_PIXELS,
    PICTURE_SIDE_PIXELS,
    find_face,
    frame_with_picture,
    open_detector,
    picture_corner,
)

Pictures = npt.NDArray[np.uint8]

_CROP_SIDE = 48
_CORRUPTIONS = ("blur", "motion blur", "darkness", "low contrast")
_CAMERA_NOISE_LEVELS = 1.5  # standard deviation
_CUT_STEPS = (0.8, 0.7, 0.65, 0.6, 0.5)
_BINS: dict[str, tuple[float, ...]] = {
    "confidence": (0, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8, 1.01),
    "sharpness": (0, 0.15, 0.2, 0.3, 0.5, 9),
    "yaw, degrees to either side": (0, 10, 20, 30, 40, 50, 70, 181),
    "pitch, degrees up": (-91, -30, -20, -10, 0, 10, 20, 30, 91),
    "probability that eyes or mouth are covered": (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.01),
}


@dataclass(frozen=True, slots=True)
class Step:
    """Faces that were made worse by some strength, or that have it by themselves.

    Attributes:
        what: what was done, or measured.
        strength: how much of it.
        num: faces.
        right: share of right answers; NaN without faces, as the others.
        flagged: share with a quality flag.
        named: share for which an emotion is named.
        right_named: share of right answers among these.
        right_withheld: of all right answers the share for which none is named.
    """

    what: str
    strength: str
    num: int
    right: float
    flagged: float
    named: float
    right_named: float
    right_withheld: float


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Faces as the pipeline sees them: in pixels of frames of some height, and their crops."""

    faces: Sequence[Face]
    crops: Pictures
    truth: npt.NDArray[np.int64]
    frame_height: int = FRAME_HEIGHT_PIXELS


def measure_reliability(
    model: OnnxModel,
    detector: FaceDetector,
    faces: FaceSet,
    *,
    min_confidence: float = ClassifySettings().min_confidence,
    show_progress: bool = False,
) -> list[Step]:
    """All tables: what faces are made to have, then what they have by themselves.

    Raises:
        InferenceError: a model failed.
    """
    truth = truth_of(faces, model.manifest.labels)
    faces, truth = faces.take(truth >= 0), truth[truth >= 0]

    def measured(what: str, strength: str, seen: _Seen) -> Step:
        return _step(what, strength, *_judged(model, seen, min_confidence=min_confidence))

    plain = _seen(detector, faces.pictures, truth, show_progress=show_progress)
    steps = [measured("nothing", "", plain)]
    for corruption in CORRUPTIONS:
        if corruption.name in _CORRUPTIONS:
            for strength in corruption.strengths:
                worse = replace(plain, crops=corruption(plain.crops, strength=strength))
                steps.append(measured(corruption.name, f"{strength:g}", worse))
    for what, (make, strengths) in _MADE.items():
        steps += [
            measured(what, f"{strength:g}", replace(plain, crops=make(plain.crops, strength))) for strength in strengths
        ]
    for share in _CUT_STEPS:
        height = picture_corner()[1] + round(share * PICTURE_SIDE_PIXELS)
        cut = _seen(detector, faces.pictures, truth, frame_height=height, show_progress=show_progress)
        steps.append(measured("picture ends, share of the face's picture", f"{share:g}", cut))
    return steps + _by_themselves(model, plain, min_confidence=min_confidence)


def truth_of(faces: FaceSet, labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """The place in `labels` of what each picture shows, by the majority of votes where there are some; −1 unknown."""
    names, places = faces.class_names, faces.labels
    if faces.has_votes:
        names, places = EMOTIONS, votes_and_majority(faces)[1]
    by_place = [labels.index(name) if name in labels else -1 for name in names]
    return np.array([by_place[place] if place >= 0 else -1 for place in places], dtype=np.int64)


def _seen(
    detector: FaceDetector,
    pictures: Pictures,
    truth: npt.NDArray[np.int64],
    *,
    frame_height: int = FRAME_HEIGHT_PIXELS,
    show_progress: bool,
) -> _Seen:
    """The pictures in frames that end after some rows, and the faces found there."""
    faces, crops, kept = [], [], []
    for index, picture in enumerate(tqdm(pictures, desc="find faces", disable=not show_progress, leave=False)):
        frame = np.ascontiguousarray(frame_with_picture(picture)[:frame_height])
        if (face := find_face(detector, frame)) is not None:
            faces.append(face)
            crops.append(crop_face(frame, face, size=_CROP_SIDE))
            kept.append(index)
    return _Seen(faces, np.array(crops, dtype=np.uint8).reshape(-1, _CROP_SIDE, _CROP_SIDE), truth[kept], frame_height)


def _covered_from_below(crops: Pictures, share: float) -> Pictures:
    covered = crops.copy()
    levels = np.random.default_rng(0).integers(0, 256, len(crops))
    covered[:, round((1 - share) * _CROP_SIDE) :] = levels[:, None, None]
    return covered


def _covered_eyes(crops: Pictures, share: float) -> Pictures:
    covered, middle = crops.copy(), TEMPLATE_LANDMARKS[0, 1] / CROP_SIZE_PIXELS
    levels = np.random.default_rng(0).integers(0, 256, len(crops))
    top, bottom = (round((middle + side * share / 2) * _CROP_SIDE) for side in (-1, 1))
    covered[:, top:bottom] = levels[:, None, None]
    return covered


def _dim(crops: Pictures, level: float) -> Pictures:
    means = np.maximum(crops.mean(axis=(1, 2), keepdims=True), 1.0)
    noise = np.random.default_rng(0).normal(0, _CAMERA_NOISE_LEVELS, crops.shape)
    dim = np.rint(crops * np.minimum(level / means, 1.0) + noise)
    return np.asarray(np.clip(dim, 0, 255), dtype=np.uint8)


def _smaller(crops: Pictures, size: float) -> Pictures:
    small = shrink_faces(crops, size=int(size))
    return np.array([cv2.resize(crop, (_CROP_SIDE, _CROP_SIDE)) for crop in small], dtype=np.uint8)


_MADE: dict[str, tuple[Callable[[Pictures, float], Pictures], tuple[float, ...]]] = {
    "covered from below, share of the crop": (_covered_from_below, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "bar over the eyes, share of the crop": (_covered_eyes, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "mean level, with a camera's noise": (_dim, (32, 16, 10, 6, 4)),
    "face size, pixels": (_smaller, (32, 24, 20, 16, 12)),
}

Judged = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
"""Of each face: is the answer right, has it a flag, is an emotion named."""


def _judged(model: OnnxModel, seen: _Seen, *, min_confidence: float) -> Judged:
    probabilities = model.classify(seen.crops).ferplus
    poses = head_poses(np.array([face.landmarks for face in seen.faces], dtype=np.float64).reshape(-1, 5, 2))
    qualities: list[Quality] = [
        quality_of(
            face,
            crop,
            frame_width=FRAME_WIDTH_PIXELS,
            frame_height=seen.frame_height,
            yaw_degrees=yaw,
            pitch_degrees=pitch,
            covered=covered,
        )
        for face, crop, (yaw, pitch, _), covered in zip(
            seen.faces, seen.crops, poses.tolist(), covered_parts(seen.crops), strict=True
        )
    ]
    is_readable = np.array([quality.is_readable for quality in qualities], dtype=bool)
    is_flagged = np.array([bool(quality.flags) for quality in qualities], dtype=bool)
    is_named = is_readable & (probabilities.max(axis=1, initial=0) >= min_confidence)
    return np.asarray(probabilities.argmax(axis=1) == seen.truth), is_flagged, is_named


def _step(
    what: str,
    strength: str,
    is_right: npt.NDArray[np.bool_],
    is_flagged: npt.NDArray[np.bool_],
    is_named: npt.NDArray[np.bool_],
) -> Step:
    return Step(
        what,
        strength,
        len(is_right),
        _share(is_right),
        _share(is_flagged),
        _share(is_named),
        _share(is_right[is_named]),
        _share(~is_named[is_right]),
    )


def _share(values: npt.NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _by_themselves(model: OnnxModel, seen: _Seen, *, min_confidence: float) -> list[Step]:
    judged = _judged(model, seen, min_confidence=min_confidence)
    poses = head_poses(np.array([face.landmarks for face in seen.faces], dtype=np.float64).reshape(-1, 5, 2))
    values = (
        model.classify(seen.crops).ferplus.max(axis=1, initial=0),
        np.array([sharpness(crop) for crop in seen.crops]),
        np.abs(poses[:, 0]),
        poses[:, 1],
        np.array([max(covered) for covered in covered_parts(seen.crops)]),
    )
    steps = []
    for (what, edges), value in zip(_BINS.items(), values, strict=True):
        for low, high in pairwise(edges):
            inside = (value >= low) & (value < high)
            steps.append(_step(what, f"{low:g} to {high:g}", *(each[inside] for each in judged)))
    return steps


def print_steps(steps: Sequence[Step]) -> None:
    """One table for each kind."""
    console = Console(width=120)
    for what, of_kind in groupby(steps, key=lambda step: step.what):
        table = Table(title=what, title_justify="left")
        for column in ("strength", "faces", "right", "flagged", "named", "right of named", "right ones not named"):
            table.add_column(column, justify="right")
        for step in of_kind:
            shares = (step.right, step.flagged, step.named, step.right_named, step.right_withheld)
            table.add_row(step.strength, str(step.num), *("–" if math.isnan(x) else f"{x:.1%}" for x in shares))
        console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="labelled pictures, framed like FER2013")
    parser.add_argument("--split", help="held-out, publictest, …; needed where the data has several splits")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="ONNX file with its manifest beside it")
    parser.add_argument("--pictures", type=int, metavar="N", help="number of pictures, spread evenly; default: all")
    parser.add_argument("--min-confidence", type=float, default=ClassifySettings().min_confidence)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args(arguments)
    try:
        model = OnnxModel(options.model)
        faces = load_faces(options.data, split=options.split, class_names=model.manifest.labels)
        steps = measure_reliability(
            model,
            open_detector(None),
            spread_subset(faces.without_blank(), options.pictures),
            min_confidence=options.min_confidence,
            show_progress=sys.stderr.isatty(),
        )
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    if options.json:
        print(json.dumps([asdict(step) for step in steps], indent=2))
    else:
        print_steps(steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
