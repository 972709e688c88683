"""Pure: the outputs of a model against the labels of the pictures they were computed from.

Two heads are measured: `fer2013_probabilities` against the challenge's labels (`accuracy`, as published figures have
it) and `probabilities` against the majority of the FER+ votes (`ferplus_…`), over the pictures whose majority is one of
the classes. Every picture of the split counts, blank ones too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emostream.classify.manifest import ModelManifest
from emostream.emotion import EMOTIONS
from emostream.errors import ManifestError
from training.calibration import Calibration, calibrations, ferplus_question, majority_exponent
from training.faces import FaceSet
from training.inference import HeadOutputs
from training.labels import FERPLUS_COLUMNS, majority_labels
from training.metrics import HeadMetrics, head_metrics


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured on one set.

    Attributes:
        fer2013: challenge labels, all pictures.
        ferplus: FER+ majority, or None when the data has no votes with a majority.
        fer2013_without_duplicates: over the pictures that are no exact copy of a training picture; None when it is not
            known which are, or when nothing remains.
        ferplus_without_duplicates: likewise.
        calibration: question → how honest the probabilities are about it; see `training.calibration`.
        ferplus_question: which entry of `calibration` the first head was fitted to answer.
        majority_exponent: power of the first head's probabilities that best tells the chance of a majority; None
            without votes.
        label_agreement: share of pictures whose FER+ majority is the challenge label.
        num_pictures, num_ferplus, num_duplicates, num_blank: counts; num_duplicates is None when not known.
        num_left_out: why pictures have no FER+ majority → how many.
    """

    fer2013: HeadMetrics
    ferplus: HeadMetrics | None
    fer2013_without_duplicates: HeadMetrics | None
    ferplus_without_duplicates: HeadMetrics | None
    calibration: dict[str, Calibration]
    ferplus_question: str
    majority_exponent: float | None
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
        }
        for prefix, head in (
            ("", self.fer2013_without_duplicates),
            ("ferplus_", self.ferplus_without_duplicates),
        ):
            result[f"{prefix}accuracy_without_duplicates"] = None if head is None else head.accuracy
            result[f"{prefix}accuracy_without_duplicates_interval"] = None if head is None else head.accuracy_interval
        result |= self._calibration_figures() | {
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
        return result | {"reliability": {name: entry.as_dict() for name, entry in self.calibration.items()}}

    def _calibration_figures(self) -> dict[str, Any]:
        """`ece`, `ferplus_ece` and so on, each also as it was before its temperature (null when that is not known)."""
        result: dict[str, Any] = {}
        for question, name in (
            ("fer2013", "ece"),
            ("ferplus", "ferplus_ece"),
            ("ferplus_vote", "ferplus_vote_ece"),
            ("ferplus_majority", "ferplus_majority_ece"),
        ):
            entry = self.calibration.get(question)
            result[name] = None if entry is None else entry.after.ece
            if question != "ferplus_majority":
                result[f"{name}_before"] = None if entry is None or entry.before is None else entry.before.ece
        return result | {
            "ferplus_question": self.ferplus_question,
            "ferplus_majority_exponent": self.majority_exponent,
        }


def evaluate(faces: FaceSet, manifest: ModelManifest, outputs: HeadOutputs) -> Evaluation:
    """Compare the outputs of a model with the labels of the pictures they were computed from.

    Raises:
        ManifestError: the model's classes are not the seven of FER2013.
    """
    outputs = in_emotion_order(manifest, outputs)
    votes, majority = votes_and_majority(faces)
    known = majority >= 0
    duplicates = faces.duplicate_of_training
    fresh = np.zeros(len(faces), dtype=np.bool_) if duplicates is None else ~duplicates
    return Evaluation(
        fer2013=head_metrics(outputs.fer2013, faces.labels, class_names=EMOTIONS),
        ferplus=_metrics_of(outputs.ferplus, majority, known),
        fer2013_without_duplicates=_metrics_of(outputs.fer2013, faces.labels, fresh),
        ferplus_without_duplicates=_metrics_of(outputs.ferplus, majority, fresh & known),
        calibration=calibrations(outputs, labels=faces.labels, votes=votes, majority=majority, manifest=manifest),
        ferplus_question=ferplus_question(manifest),
        majority_exponent=majority_exponent(outputs.ferplus[known], majority[known]) if known.any() else None,
        label_agreement=float((majority == faces.labels)[known].mean()) if known.any() else None,
        num_pictures=len(faces),
        num_ferplus=int(known.sum()),
        num_duplicates=None if duplicates is None else int(duplicates.sum()),
        num_blank=int(faces.blank.sum()),
        num_left_out={} if faces.votes is None else _left_out(votes, majority),
    )


def in_emotion_order(manifest: ModelManifest, outputs: HeadOutputs) -> HeadOutputs:
    """Outputs in the order of a manifest's labels → in the order of `EMOTIONS`.

    Raises:
        ManifestError: the model's classes are not the seven of FER2013.
    """
    if set(manifest.labels) != set(EMOTIONS):
        raise ManifestError(
            f"model {manifest.name} knows {', '.join(manifest.labels)}; this evaluation needs {', '.join(EMOTIONS)}"
        )
    columns = [manifest.labels.index(emotion) for emotion in EMOTIONS]
    return HeadOutputs(outputs.ferplus[:, columns], outputs.fer2013[:, columns])


def votes_and_majority(faces: FaceSet) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Votes n×10 (all 0 where the data has none), and the majority class of each picture or NO_MAJORITY."""
    votes = np.zeros((len(faces), len(FERPLUS_COLUMNS)), np.float32) if faces.votes is None else faces.votes
    return votes, majority_labels(votes)


def _metrics_of(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> HeadMetrics | None:
    return head_metrics(probabilities[chosen], labels[chosen], class_names=EMOTIONS) if chosen.any() else None


def _left_out(votes: npt.NDArray[np.float32], majority: npt.NDArray[np.int64]) -> dict[str, int]:
    voted = votes.sum(axis=1) > 0
    winner = votes.argmax(axis=1)
    counts = {
        name: int(((winner == column) & voted & (majority < 0)).sum())
        for column, name in enumerate(FERPLUS_COLUMNS)
        if name in ("contempt", "unknown", "NF")
    }
    return {**counts, "no_votes": int((~voted).sum())}
