"""How a model bears spoiled pictures: `python -m training.robustness --data ../shared/data/fer2013 --split publictest`.

Accuracy of both heads under every corruption of `training.corruptions` at five strengths, mirrored, and with faces
shrunk from 48 to 12 pixels. Pictures are spoiled at their own resolution, before the preprocessing that serving uses.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.errors import ConfigError, EmostreamError
from training.corruptions import CORRUPTIONS, FACE_SIZES_PIXELS, Corruption, Pictures, shrink_faces
from training.data import load_faces
from training.evaluation import in_emotion_order, votes_and_majority
from training.faces import FaceSet
from training.inference import SHIPPED_MODEL, OnnxModel


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares of right answers, in 0…1: challenge labels, and FER+ majority (None when the data has no votes)."""

    fer2013: float
    ferplus: float | None

    def minus(self, other: Accuracy) -> Accuracy:
        """The difference of both shares."""
        is_known = self.ferplus is not None and other.ferplus is not None
        return Accuracy(self.fer2013 - other.fer2013, self.ferplus - other.ferplus if is_known else None)  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class RobustnessCurve:
    """Accuracy against the strength of one corruption.

    Attributes:
        name, unit, strengths: as in `Corruption`.
        accuracies: one for each strength.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    accuracies: tuple[Accuracy, ...]


@dataclass(frozen=True, slots=True)
class Robustness:
    """What spoiled pictures cost.

    Attributes:
        num_pictures: pictures measured.
        clean: accuracy on them as they are.
        mirrored: accuracy on them mirrored.
        curves: one for each corruption.
        face_sizes: accuracy against the side of the face in pixels.
    """

    num_pictures: int
    clean: Accuracy
    mirrored: Accuracy
    curves: tuple[RobustnessCurve, ...]
    face_sizes: RobustnessCurve

    @property
    def mean_corrupted(self) -> Accuracy:
        """Mean accuracy over all corruptions and strengths; face sizes and mirroring are not among them."""
        return mean_accuracy([accuracy for curve in self.curves for accuracy in curve.accuracies])

    @property
    def mean_drop(self) -> Accuracy:
        """What a corruption costs on average: accuracy on clean pictures less `mean_corrupted`."""
        return self.clean.minus(self.mean_corrupted)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        means = {"mean_corrupted": asdict(self.mean_corrupted), "mean_drop": asdict(self.mean_drop)}
        return means | asdict(self)


def mean_accuracy(accuracies: list[Accuracy]) -> Accuracy:
    """The mean of each head; `accuracies` must not be empty."""
    ferplus = [accuracy.ferplus for accuracy in accuracies if accuracy.ferplus is not None]
    return Accuracy(
        float(np.mean([accuracy.fer2013 for accuracy in accuracies])), float(np.mean(ferplus)) if ferplus else None
    )


def measure_robustness(
    model: OnnxModel,
    faces: FaceSet,
    *,
    corruptions: tuple[Corruption, ...] = CORRUPTIONS,
    sizes: tuple[int, ...] = FACE_SIZES_PIXELS,
    seed: int = 0,
    show_progress: bool = False,
) -> Robustness:
    """Run a model over spoiled copies of a set; blank pictures count as in every evaluation.

    Raises:
        ManifestError: the model's classes are not the seven of FER2013.
        InferenceError: the model failed.
    """
    total = 2 + sum(len(corruption.strengths) for corruption in corruptions) + len(sizes)
    with tqdm(total=total, desc="robustness", unit="variant", disable=not show_progress, leave=False) as progress:
        _, majority = votes_and_majority(faces)
        known = majority >= 0

        def accuracy_on(pictures: Pictures) -> Accuracy:
            outputs = in_emotion_order(model.manifest, model.classify(pictures))
            progress.update()
            return Accuracy(
                _share(outputs.fer2013, faces.labels),
                _share(outputs.ferplus[known], majority[known]) if known.any() else None,
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
    """At most so many pictures, evenly spread over the set; all when None.

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
        prog="python -m training.robustness", description="Measure a model on spoiled pictures."
    )
    parser.add_argument("--data", type=Path, required=True, help="labelled pictures in any form `training.data` reads")
    parser.add_argument("--split", help="training, publictest, … or all; needed where the data has several splits")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="ONNX file with its manifest beside it")
    parser.add_argument(
        "--pictures", type=int, metavar="N", help="measure on N pictures spread over the set; default: all"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args(arguments)
    try:
        faces = spread_subset(load_faces(options.data, split=options.split), options.pictures)
        result = measure_robustness(OnnxModel(options.model), faces, show_progress=sys.stderr.isatty())
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    if options.json:
        print(json.dumps(result.as_dict(), indent=2))
    else:
        from training.evaluation_tables import print_robustness  # which imports this module

        print_robustness(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
