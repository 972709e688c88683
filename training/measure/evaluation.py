"""The outputs of a model against the labels of the pictures they were computed from.

On data with FER+ votes two heads are measured: `fer2013_probabilities` against the challenge's labels (`accuracy`, as
published figures have it) and `probabilities` against the majority of the votes (`ferplus_…`), over the pictures whose
majority is one of the classes; `training.measure.vote_figures` has the other readings of the votes. On data without
votes the labels are asked of `probabilities`, which is what events carry, and so they always are of a model with one
head. Every picture of the split counts, blank ones too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emostream.domain.emotion import EMOTIONS
from emostream.domain.model_manifest import ModelManifest
from emostream.errors import ManifestError
from training.data.face_set import FaceSet
from training.data.labels import FERPLUS_COLUMNS, majority_labels
from training.data.overlap import TrainingOverlap
from training.measure.calibration import Calibration, calibrations, ferplus_question, majority_exponent
from training.measure.inference import HeadOutputs
from training.measure.metrics import HeadMetrics, head_metrics
from training.measure.other_votes import OtherVoteFigures, other_vote_figures
from training.measure.robustness_figures import head_names
from training.measure.second_panel import SecondPanel
from training.measure.vote_figures import VoteFigures, VoteStatistics, vote_figures


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured on one set.

    Attributes:
        fer2013: labels, all pictures.
        label_output: which output of the model they were asked of.
        ferplus: FER+ majority, or None when the data has no votes with a majority.
        fer2013_without_duplicates: over the pictures that are no exact copy of a training picture; None when it is not
            known which are, or when nothing remains.
        ferplus_without_duplicates: likewise.
        fer2013_unknown, ferplus_unknown: over the pictures whose photograph was not learned from, exactly or nearly;
            None when that was not looked for, or when nothing remains.
        votes: the FER+ head against the votes in their other readings; None without votes.
        training_votes: how far people agree on what was learned from; None when not known.
        second_panel: what a second panel of people reaches there; None when not known.
        other_votes: answer that is no class → how well its pictures are known; empty where the model does not tell it
            or the data has no such picture.
        calibration: question → how honest the probabilities are about it; see `training.measure.calibration`.
        ferplus_question: which entry of `calibration` the first head was fitted to answer.
        majority_exponent: power of the first head's probabilities that best predicts the chance of a majority; None
            without votes.
        label_agreement: share of pictures whose FER+ majority is the challenge label.
        num_pictures, num_ferplus, num_duplicates, num_known, num_blank: counts; num_duplicates (exact copies) and
            num_known (photographs that were learned from, exactly or nearly) are None when not known.
        num_left_out: why pictures have no FER+ majority → how many.
    """

    fer2013: HeadMetrics
    label_output: str
    ferplus: HeadMetrics | None
    fer2013_without_duplicates: HeadMetrics | None
    ferplus_without_duplicates: HeadMetrics | None
    fer2013_unknown: HeadMetrics | None
    ferplus_unknown: HeadMetrics | None
    votes: VoteFigures | None
    training_votes: VoteStatistics | None
    second_panel: SecondPanel | None
    other_votes: dict[str, OtherVoteFigures]
    calibration: dict[str, Calibration]
    ferplus_question: str
    majority_exponent: float | None
    label_agreement: float | None
    num_pictures: int
    num_ferplus: int
    num_duplicates: int | None
    num_known: int | None
    num_blank: int
    num_left_out: dict[str, int]

    @property
    def accuracy_at_training_votes(self) -> float | None:
        """FER+ accuracy if people agreed as they do on what was learned from; None when that is not known."""
        if self.votes is None or self.training_votes is None:
            return None
        return self.votes.accuracy_at(self.training_votes.winner_shares)

    @property
    def panel_at_votes(self) -> float | None:
        """What a second panel reaches at the votes of this set; None when that is not known."""
        if self.votes is None or self.second_panel is None:
            return None
        return self.second_panel.accuracy_at(self.votes.statistics.winner_shares)

    @property
    def head_names(self) -> tuple[str, ...]:
        """What was measured, in words: `fer2013` and, where there are votes, `ferplus`."""
        return head_names(self.ferplus is not None)

    def as_dict(self) -> dict[str, Any]:
        """Flat names for the main figures, nested ones for the rest; ready for JSON."""
        result: dict[str, Any] = {
            "accuracy": self.fer2013.accuracy,
            "label_output": self.label_output,
            "ferplus_accuracy": None if self.ferplus is None else self.ferplus.accuracy,
        }
        for name, head in (
            ("accuracy_without_duplicates", self.fer2013_without_duplicates),
            ("ferplus_accuracy_without_duplicates", self.ferplus_without_duplicates),
            ("accuracy_without_near_duplicates", self.fer2013_unknown),
            ("ferplus_accuracy_without_near_duplicates", self.ferplus_unknown),
        ):
            result[name] = None if head is None else head.accuracy
            result[f"{name}_interval"] = None if head is None else head.accuracy_interval
        result |= (
            self._vote_figures()
            | self._calibration_figures()
            | {
                "label_agreement": self.label_agreement,
                "n": self.num_pictures,
                "n_ferplus": self.num_ferplus,
                "n_duplicates": self.num_duplicates,
                "n_near_duplicates": self.num_known,
                "n_blank": self.num_blank,
                "n_left_out_ferplus": self.num_left_out,
            }
        )
        for prefix, head in (("", self.fer2013), ("ferplus_", self.ferplus)):
            figures = {} if head is None else head.as_dict()
            for name in HeadMetrics.__dataclass_fields__:
                result.setdefault(prefix + name, figures.get(name))
        return result | {"reliability": {name: entry.as_dict() for name, entry in self.calibration.items()}}

    def _vote_figures(self) -> dict[str, Any]:
        """Null throughout where there are no votes."""
        votes = self.votes
        modes = (None, None) if votes is None else (votes.majority_mode, votes.majority_mode_with_contempt)
        result: dict[str, Any] = {}
        for name, head in zip(("ferplus_majority_mode", "ferplus_majority_mode_8"), modes, strict=True):
            result[f"{name}_accuracy"] = None if head is None else head.accuracy
            result[f"{name}_accuracy_interval"] = None if head is None else head.accuracy_interval
            result[f"n_{name}"] = 0 if head is None else head.num_pictures
        return result | {
            "vote_cross_entropy": None if votes is None else votes.cross_entropy,
            "ferplus_accuracy_by_winner_votes": None if votes is None else [row.as_dict() for row in votes.by_winner],
            "ferplus_accuracy_at_training_votes": self.accuracy_at_training_votes,
            "votes": None if votes is None else votes.statistics.as_dict(),
            "training_votes": None if self.training_votes is None else self.training_votes.as_dict(),
            "other_votes": {name: figures.as_dict() for name, figures in self.other_votes.items()},
            "second_panel_at_votes": self.panel_at_votes,
            "second_panel": None if self.second_panel is None else self.second_panel.as_dict(),
        }

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


def evaluate(
    faces: FaceSet, manifest: ModelManifest, outputs: HeadOutputs, *, overlap: TrainingOverlap | None = None
) -> Evaluation:
    """Compare the outputs of a model with the labels of the pictures they were computed from.

    Args:
        faces: the pictures.
        manifest: of the model.
        outputs: in the order of the manifest's labels.
        overlap: what the set shares with the pictures that were learned from, where that was looked for.

    Raises:
        ManifestError: the model does not know the class of a picture.
    """
    faces, outputs = asked_and_answered(manifest, faces, outputs)
    votes, majority = votes_and_majority(faces)
    known = majority >= 0
    duplicates = faces.duplicate_of_training
    nothing = np.zeros(len(faces), dtype=np.bool_)
    fresh = nothing if duplicates is None else ~duplicates
    unknown = nothing if overlap is None else ~overlap.known
    return Evaluation(
        fer2013=head_metrics(outputs.fer2013, faces.labels, class_names=faces.class_names),
        label_output=manifest.outputs[-1 if faces.has_votes else 0],
        ferplus=_metrics_of(faces, outputs.ferplus, majority, known),
        fer2013_without_duplicates=_metrics_of(faces, outputs.fer2013, faces.labels, fresh),
        ferplus_without_duplicates=_metrics_of(faces, outputs.ferplus, majority, fresh & known),
        fer2013_unknown=_metrics_of(faces, outputs.fer2013, faces.labels, unknown),
        ferplus_unknown=_metrics_of(faces, outputs.ferplus, majority, unknown & known),
        votes=vote_figures(outputs.ferplus, votes),
        training_votes=None if overlap is None else overlap.training_votes,
        second_panel=None if overlap is None else overlap.second_panel,
        other_votes={} if outputs.other_votes is None else other_vote_figures(outputs.other_votes, votes),
        calibration=calibrations(outputs, labels=faces.labels, votes=votes, majority=majority, manifest=manifest),
        ferplus_question=ferplus_question(manifest),
        majority_exponent=majority_exponent(outputs.ferplus[known], majority[known]) if known.any() else None,
        label_agreement=float((majority == faces.labels)[known].mean()) if known.any() else None,
        num_pictures=len(faces),
        num_ferplus=int(known.sum()),
        num_duplicates=None if duplicates is None else int(duplicates.sum()),
        num_known=None if overlap is None else int(overlap.known.sum()),
        num_blank=int(faces.blank.sum()),
        num_left_out={} if faces.votes is None else _left_out(votes, majority),
    )


def asked_and_answered(manifest: ModelManifest, faces: FaceSet, outputs: HeadOutputs) -> tuple[FaceSet, HeadOutputs]:
    """Pictures and a model's outputs for them, both with the model's classes; those of FER2013 are in its order.

    Where the pictures have no votes, the head that events carry answers for the labels too.

    Raises:
        ManifestError: the model does not know the class of a picture.
    """
    class_names = EMOTIONS if set(manifest.labels) == set(EMOTIONS) else manifest.labels
    unknown = faces.unknown_classes(class_names)
    if unknown:
        raise ManifestError(
            f"model {manifest.name} knows {', '.join(manifest.labels)}; the data has pictures of {', '.join(unknown)}: "
            "leave them out, or name a model that knows them"
        )
    faces = faces.with_classes(class_names)
    columns = [manifest.labels.index(name) for name in class_names]
    carried = outputs.ferplus[:, columns]
    by_label = outputs.fer2013[:, columns] if faces.has_votes else carried
    return faces, HeadOutputs(carried, by_label, outputs.other_votes)


def votes_and_majority(faces: FaceSet) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Votes n×10 (all 0 where the data has none), and the majority class of each picture or NO_MAJORITY."""
    votes = np.zeros((len(faces), len(FERPLUS_COLUMNS)), np.float32) if faces.votes is None else faces.votes
    return votes, majority_labels(votes)


def _metrics_of(
    faces: FaceSet,
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.bool_],
) -> HeadMetrics | None:
    if not chosen.any():
        return None
    return head_metrics(probabilities[chosen], labels[chosen], class_names=faces.class_names)


def _left_out(votes: npt.NDArray[np.float32], majority: npt.NDArray[np.int64]) -> dict[str, int]:
    voted = votes.sum(axis=1) > 0
    winner = votes.argmax(axis=1)
    counts = {
        name: int(((winner == column) & voted & (majority < 0)).sum())
        for column, name in enumerate(FERPLUS_COLUMNS)
        if name in ("contempt", "unknown", "NF")
    }
    return {**counts, "no_votes": int((~voted).sum())}
