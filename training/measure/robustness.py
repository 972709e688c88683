"""Accuracy on corrupted pictures: `python -m training.robustness --data ../shared/data/fer2013 --split publictest`.

Accuracy of both heads (without votes, of the head that events carry) under every corruption of
`training.measure.corruptions` at five strengths, mirrored, and with faces shrunk from 48 to 12 pixels. Pictures are
corrupted at their own resolution, before the preprocessing that serving uses.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.errors import ConfigError, EmostreamError
from training.data.face_set import FaceSet
from training.data.load import load_faces
from training.measure.corruptions import CORRUPTIONS, FACE_SIZES_PIXELS, Corruption, Pictures, shrink_faces
from training.measure.evaluation import asked_and_answered, votes_and_majority
from training.measure.inference import SHIPPED_MODEL, OnnxModel
from training.measure.robustness_figures import Accuracy, Robustness, RobustnessCurve
from training.measure.tables import print_robustness


def measure_robustness(
    model: OnnxModel,
    faces: FaceSet,
    *,
    corruptions: tuple[Corruption, ...] = CORRUPTIONS,
    sizes: tuple[int, ...] = FACE_SIZES_PIXELS,
    seed: int = 0,
    show_progress: bool = False,
) -> Robustness:
    """Run a model over corrupted copies of a set; blank pictures count as in every evaluation.

    Raises:
        ManifestError: the model does not know the class of a picture.
        InferenceError: the model failed.
    """
    total = 2 + sum(len(corruption.strengths) for corruption in corruptions) + len(sizes)
    with tqdm(total=total, desc="robustness", unit="variant", disable=not show_progress, leave=False) as progress:
        _, majority = votes_and_majority(faces)
        known = majority >= 0

        def accuracy_on(pictures: Pictures) -> Accuracy:
            asked, outputs = asked_and_answered(model.manifest, faces, model.classify(pictures))
            progress.update()
            return Accuracy(
                _share(outputs.fer2013, asked.labels),
                _share(outputs.ferplus[known], majority[known]) if asked.has_votes else None,
            )

        return Robustness(
            num_pictures=len(faces),
            clean=accuracy_on(faces.pictures),
            mirrored=accuracy_on(np.ascontiguousarray(faces.pictures[:, :, ::-1])),
            curves=tuple(_curve(corruption, faces.pictures, accuracy_on, seed=seed) for corruption in corruptions),
            face_sizes=RobustnessCurve(
                "face size",
                "pixels",
                tuple(float(size) for size in sizes),
                tuple(accuracy_on(shrink_faces(faces.pictures, size=size)) for size in sizes),
            ),
        )


def _curve(
    corruption: Corruption, pictures: Pictures, accuracy_on: Callable[[Pictures], Accuracy], *, seed: int
) -> RobustnessCurve:
    accuracies = [accuracy_on(corruption(pictures, strength=strength, seed=seed)) for strength in corruption.strengths]
    return RobustnessCurve(corruption.name, corruption.unit, corruption.strengths, tuple(accuracies))


def _share(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def spread_subset(faces: FaceSet, num_pictures: int | None) -> FaceSet:
    """At most `num` pictures, evenly spread over the set; all when None.

    Raises:
        ConfigError: fewer than one picture.
    """
    if num_pictures is None or num_pictures >= len(faces):
        return faces
    if num_pictures < 1:
        raise ConfigError(f"expected a number of pictures of at least 1, got {num_pictures}")
    return faces.take(np.linspace(0, len(faces) - 1, num_pictures).astype(np.int64))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.robustness", description="Measure a model on corrupted pictures."
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="labelled pictures in any form `training.data.load` reads"
    )
    parser.add_argument("--split", help="training, publictest, … or all; needed where the data has several splits")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="ONNX file with its manifest beside it")
    parser.add_argument(
        "--pictures", type=int, metavar="N", help="number of pictures, spread evenly over the set; default: all"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args(arguments)
    try:
        model = OnnxModel(options.model)
        faces = load_faces(options.data, split=options.split, class_names=model.manifest.labels)
        faces = spread_subset(faces, options.pictures)
        result = measure_robustness(model, faces, show_progress=sys.stderr.isatty())
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    if options.json:
        print(json.dumps(result.as_dict(), indent=2))
    else:
        print_robustness(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
