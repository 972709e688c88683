"""Does the service's crop have the framing the classifier was trained on?

    python -m training.framing --data ../shared/data/fer2013

puts each picture into a larger frame, finds its face as the service does, cuts the aligned crop, and compares the
accuracy on the crops with the accuracy on the pictures themselves, over the pictures in which a face is found.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.domain.model_manifest import load_manifest
from emostream.errors import EmostreamError
from emostream.vision.detect.align import crop_face
from emostream.vision.detect.detector import FaceDetector
from training.data.face_set import FaceSet
from training.data.load import load_faces
from training.evaluate import SHIPPED_MODEL, Evaluation, evaluate_model
from training.tools.template import find_face, frame_with_picture, open_detector

MAX_LOSS = 0.015
"""Accuracy the way through detector and crop may cost, as a share."""


def through_detector(detector: FaceDetector, faces: FaceSet, *, size: int) -> tuple[FaceSet, FaceSet]:
    """The pictures in which a face is found, and the same set with the service's crops (size×size) in their place."""
    found, crops = [], []
    for index, picture in enumerate(tqdm(faces.pictures, unit="picture", disable=not sys.stderr.isatty())):
        frame = frame_with_picture(picture)
        face = find_face(detector, frame)
        if face is not None:
            found.append(index)
            crops.append(crop_face(frame, face, size=size))
    originals = faces.take(np.array(found, dtype=np.intp))
    return originals, dataclasses.replace(originals, pictures=np.stack(crops))


def compare(originals: Evaluation, crops: Evaluation, *, num_pictures: int) -> dict[str, Any]:
    """Both heads' accuracies on the same faces, ready for JSON."""
    result: dict[str, Any] = {"n": num_pictures, "n_found": originals.num_pictures}
    for prefix, head in (("", "fer2013"), ("ferplus_", "ferplus")):
        before, after = getattr(originals, head), getattr(crops, head)
        if before is None or after is None:
            continue  # data without votes
        result[f"{prefix}accuracy_on_pictures"] = before.accuracy
        result[f"{prefix}accuracy_on_crops"] = after.accuracy
        result[f"{prefix}loss"] = before.accuracy - after.accuracy
    return result


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code is 1 when a head loses more than `MAX_LOSS`."""
    parser = argparse.ArgumentParser(prog="python -m training.framing", description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="labelled pictures in any form `training.data.load` reads"
    )
    parser.add_argument("--split", default="publictest", help="split to measure on")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="ONNX file with its manifest beside it")
    parser.add_argument("--detector", type=Path, help="prepared CenterFace file; default: the model store")
    options = parser.parse_args(arguments)
    try:
        manifest = load_manifest(options.model)
        faces = load_faces(options.data, split=options.split, class_names=manifest.labels)
        detector = open_detector(options.detector)
        originals, crops = through_detector(detector, faces, size=manifest.input_size_pixels)
        result = compare(
            evaluate_model(options.model, originals), evaluate_model(options.model, crops), num_pictures=len(faces)
        )
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    print(json.dumps(result, indent=2))
    return int(any(value > MAX_LOSS for name, value in result.items() if name.endswith("loss")))


if __name__ == "__main__":
    sys.exit(main())
