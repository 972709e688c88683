"""Measure a model: `python -m training.evaluate --data ../shared/data/fer2013 --split publictest [--json]`.

Two heads are measured: `fer2013_probabilities` against the challenge's labels (`accuracy`, as published figures have
it) and `probabilities` against the majority of the FER+ votes (`ferplus_…`), over the pictures whose majority is one of
the classes. Every picture of the split counts, blank ones too.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import emostream
from emostream.classify.manifest import ModelManifest
from emostream.emotion import EMOTIONS
from emostream.errors import EmostreamError, ManifestError
from training.data import load_faces
from training.faces import FaceSet
from training.inference import HeadOutputs, classify_pictures
from training.labels import FERPLUS_COLUMNS, majority_labels, vote_distributions
from training.metrics import HeadMetrics, expected_calibration_error, head_metrics

SHIPPED_MODEL = Path(emostream.__file__).parent / "models" / "emotions.onnx"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured on one set.

    Attributes:
        fer2013: challenge labels, all pictures.
        ferplus: FER+ majority, or None when the data has no votes with a majority.
        accuracy_without_duplicates: over the pictures that are no exact copy of a training picture; None when it is
            not known which are.
        ferplus_accuracy_without_duplicates: likewise.
        ferplus_vote_ece: calibration of the first head against the share of people who gave the same answer.
        label_agreement: share of pictures whose FER+ majority is the challenge label.
        num_pictures, num_ferplus, num_duplicates, num_blank: counts; num_duplicates is None when not known.
        num_left_out: why pictures have no FER+ majority → how many.
    """

    fer2013: HeadMetrics
    ferplus: HeadMetrics | None
    accuracy_without_duplicates: float | None
    ferplus_accuracy_without_duplicates: float | None
    ferplus_vote_ece: float | None
    label_agreement: float | None
    num_pictures: int
    num_ferplus: int
    num_duplicates: int | None
    num_blank: int
    num_left_out: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Flat names for the main figures, nested ones for the rest; ready for JSON."""
        result: dict[str, Any] = {
            "accuracy": self.fer2013.accuracy,
            "ferplus_accuracy": None if self.ferplus is None else self.ferplus.accuracy,
            "accuracy_without_duplicates": self.accuracy_without_duplicates,
            "ferplus_accuracy_without_duplicates": self.ferplus_accuracy_without_duplicates,
            "ece": self.fer2013.ece,
            "ferplus_ece": None if self.ferplus is None else self.ferplus.ece,
            "ferplus_vote_ece": self.ferplus_vote_ece,
            "label_agreement": self.label_agreement,
            "n": self.num_pictures,
            "n_ferplus": self.num_ferplus,
            "n_duplicates": self.num_duplicates,
            "n_blank": self.num_blank,
            "n_left_out_ferplus": self.num_left_out,
        }
        for prefix, head in (("", self.fer2013), ("ferplus_", self.ferplus)):
            figures = {} if head is None else head.as_dict()
            for name in HeadMetrics.__dataclass_fields__:
                result.setdefault(prefix + name, figures.get(name))
        return result


def evaluate(faces: FaceSet, manifest: ModelManifest, outputs: HeadOutputs) -> Evaluation:
    """Compare the outputs of a model with the labels of the pictures they were computed from.

    Raises:
        ManifestError: the model's classes are not the seven of FER2013.
    """
    columns = _columns(manifest)
    ferplus_probabilities = outputs.ferplus[:, columns]
    fer2013_probabilities = outputs.fer2013[:, columns]
    votes = np.zeros((len(faces), len(FERPLUS_COLUMNS)), np.float32) if faces.votes is None else faces.votes
    majority = majority_labels(votes)
    known = majority >= 0
    duplicates = faces.duplicate_of_training
    right = fer2013_probabilities.argmax(axis=1) == faces.labels
    ferplus_right = ferplus_probabilities.argmax(axis=1) == majority
    fresh = np.ones(len(faces), dtype=np.bool_) if duplicates is None else ~duplicates
    return Evaluation(
        fer2013=head_metrics(fer2013_probabilities, faces.labels, class_names=EMOTIONS),
        ferplus=(
            head_metrics(ferplus_probabilities[known], majority[known], class_names=EMOTIONS) if known.any() else None
        ),
        accuracy_without_duplicates=None if duplicates is None else _share(right[fresh]),
        ferplus_accuracy_without_duplicates=None if duplicates is None else _share(ferplus_right[fresh & known]),
        ferplus_vote_ece=_vote_ece(ferplus_probabilities[known], votes[known]),
        label_agreement=_share((majority == faces.labels)[known]),
        num_pictures=len(faces),
        num_ferplus=int(known.sum()),
        num_duplicates=None if duplicates is None else int(duplicates.sum()),
        num_blank=int(faces.blank.sum()),
        num_left_out={} if faces.votes is None else _left_out(votes, majority),
    )


def _columns(manifest: ModelManifest) -> list[int]:
    if set(manifest.labels) != set(EMOTIONS):
        raise ManifestError(
            f"model {manifest.name} knows {', '.join(manifest.labels)}; this evaluation needs {', '.join(EMOTIONS)}"
        )
    return [manifest.labels.index(emotion) for emotion in EMOTIONS]


def _share(right: npt.NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if right.size else None


def _vote_ece(probabilities: npt.NDArray[np.floating], votes: npt.NDArray[np.floating]) -> float | None:
    if not len(votes):
        return None
    distribution = vote_distributions(votes)
    agreeing = distribution[np.arange(len(votes)), probabilities.argmax(axis=1)]
    return expected_calibration_error(probabilities, agreeing.astype(np.float64))


def _left_out(votes: npt.NDArray[np.float32], majority: npt.NDArray[np.int64]) -> dict[str, int]:
    voted = votes.sum(axis=1) > 0
    winner = votes.argmax(axis=1)
    counts = {
        name: int(((winner == column) & voted & (majority < 0)).sum())
        for column, name in enumerate(FERPLUS_COLUMNS)
        if name in ("contempt", "unknown", "NF")
    }
    return {**counts, "no_votes": int((~voted).sum())}


def evaluate_model(model_path: Path, faces: FaceSet, *, show_progress: bool = False) -> Evaluation:
    """Run a model over a set and measure it.

    Raises:
        ModelError: the model cannot be used.
    """
    manifest, outputs = classify_pictures(model_path, faces.pictures, show_progress=show_progress)
    return evaluate(faces, manifest, outputs)


def print_tables(evaluation: Evaluation) -> None:
    """For people: the main figures, then each head's classes and confusions."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    left_out = sum(evaluation.num_left_out.values())
    console.print(
        f"{evaluation.num_pictures} pictures, {evaluation.num_blank} blank, {_count(evaluation.num_duplicates)} copies "
        f"of training pictures; {evaluation.num_ferplus} with a FER+ majority, {left_out} left out "
        f"({', '.join(f'{reason} {count}' for reason, count in evaluation.num_left_out.items()) or 'no votes'})"
    )
    summary = Table("", "accuracy", "95 %", "without duplicates", "balanced", "macro F1", "ECE")
    for name, head, fresh in (
        ("challenge labels", evaluation.fer2013, evaluation.accuracy_without_duplicates),
        ("FER+ majority", evaluation.ferplus, evaluation.ferplus_accuracy_without_duplicates),
    ):
        if head is not None:
            low, high = head.accuracy_interval
            summary.add_row(
                name,
                _percent(head.accuracy),
                f"{_percent(low)} – {_percent(high)}",
                _percent(fresh),
                _percent(head.balanced_accuracy),
                f"{head.macro_f1:.3f}",
                f"{head.ece:.3f}",
            )
    console.print(summary)
    for name, head in (("challenge labels", evaluation.fer2013), ("FER+ majority", evaluation.ferplus)):
        if head is not None:
            table = Table("label ↓ answer →", *head.per_class, "precision", "recall", "F1", "pictures", title=name)
            for (label, figures), row in zip(head.per_class.items(), head.confusion_matrix, strict=True):
                shares = [figures.precision, figures.recall, figures.f1]
                table.add_row(label, *map(str, row), *(f"{share:.3f}" for share in shares), str(figures.support))
            console.print(table)


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.2f} %"


def _count(count: int | None) -> str:
    return "unknown" if count is None else str(count)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description="Measure a model on a data set.")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of contact sheets, fer2013.csv, folder of class folders, or .npz (images, label[, votes])",
    )
    parser.add_argument("--split", help="training, publictest, … or all; needed where the data has several splits")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="ONNX file with its manifest beside it")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args(arguments)
    try:
        faces = load_faces(options.data, split=options.split, show_progress=sys.stderr.isatty())
        evaluation = evaluate_model(options.model, faces, show_progress=sys.stderr.isatty())
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    if options.json:
        print(json.dumps(evaluation.as_dict(), indent=2))
    else:
        print_tables(evaluation)
    return 0


if __name__ == "__main__":
    sys.exit(main())
