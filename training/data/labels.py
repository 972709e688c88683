"""The labels of data sets → the classes of a model: our seven (`emostream.domain.emotion`), or a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from emostream.domain.emotion import EMOTIONS
from emostream.errors import SourceRejectedError

FERPLUS_COLUMNS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
"""Order of the ten vote columns of FER+; the last three are no class of the model."""

# Position in FERPLUS_COLUMNS of each of angry, disgust, fear, happy, sad, surprise, neutral.
_FERPLUS_OF_EMOTION = (4, 5, 6, 1, 3, 2, 0)
_EMOTION_OF_FERPLUS = {column: emotion for emotion, column in enumerate(_FERPLUS_OF_EMOTION)}

# Folder and label names in use for each class, lower case; digits are FER2013's labels.
_NAMES: tuple[tuple[str, ...], ...] = (
    ("angry", "anger", "0"),
    ("disgust", "disgusted", "1"),
    ("fear", "fearful", "afraid", "2"),
    ("happy", "happiness", "3"),
    ("sad", "sadness", "4"),
    ("surprise", "surprised", "5"),
    ("neutral", "neutrality", "6"),
)
EMOTION_OF_NAME: dict[str, int] = {name: emotion for emotion, names in enumerate(_NAMES) for name in names}
"""Name of a class folder, lower case → class index."""

CONTEMPT_NAME = "contempt"
"""Name of a class folder that other data sets have beside the seven: a class of a net that learns from such folders. A
net that does not know it is measured without it."""

LabelMap = Mapping[int, int | None]
"""Number in a data set's own files → class index, or None for a picture that is left out."""


def _numbered(*names: str, first: int = 0) -> LabelMap:
    return {number: EMOTION_OF_NAME.get(name) for number, name in enumerate(names, start=first)}


FER2013_LABELS = _numbered(*EMOTIONS)
RAF_DB_LABELS = _numbered("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral", first=1)
"""Li, Deng and Du (CVPR 2017), basic emotions."""
AFFECTNET_LABELS = _numbered(
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
    "none",
    "uncertain",
    "no face",
)
"""Mollahosseini, Hasani and Mahoor (IEEE TAC 2017)."""
CK_PLUS_LABELS = _numbered("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
"""Lucey and others (CVPR workshops 2010)."""
EXPW_LABELS = _numbered("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Zhang, Luo, Loy and Tang (IJCV 2018)."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a net is trained to tell.

    Attributes:
        class_names: in the order of its answers.
        has_votes: whether it has a head for the votes of many people beside the one for the labels. Without votes there
            is one head, for the labels, and events carry that one.
    """

    class_names: tuple[str, ...] = EMOTIONS
    has_votes: bool = True


def place_of_class(name: str, class_names: Sequence[str]) -> int | None:
    """Where a class stands in a list: under its own name, or under another word for the same emotion.

    >>> place_of_class("happiness", ("calm", "Happy")), place_of_class("tense", ("calm", "Happy"))
    (1, None)
    """
    if name in class_names:
        return class_names.index(name)
    emotion = _emotion_of_word(name)
    if emotion is None:
        return None
    return next((place for place, other in enumerate(class_names) if _emotion_of_word(other) == emotion), None)


def _emotion_of_word(name: str) -> int | None:
    return None if name.isdecimal() else EMOTION_OF_NAME.get(name.lower())


def emotion_of_number(number: int, labels: LabelMap, *, where: str) -> int | None:
    """The class index of a data set's own number, or None when such pictures are left out.

    Raises:
        SourceRejectedError: the data set has no such number; `where` says file and line.
    """
    if number not in labels:
        raise SourceRejectedError(f"{where}: expected a label {min(labels)}…{max(labels)}, got {number}")
    return labels[number]


NO_MAJORITY = -1
"""Majority index of a picture that most people called contempt, unknown or not a face, or that has no votes."""
CONTEMPT = len(EMOTIONS)
"""In `majority_mode_labels` only: FER+ knows this eighth class, the model does not."""


def vote_distributions(votes: npt.NDArray[np.integer] | npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Votes n×10 (FER+ columns) → float32 n×7 that sums to 1 in each row, or to 0 where no vote is one of the seven."""
    seven = np.asarray(votes, dtype=np.float32)[:, _FERPLUS_OF_EMOTION]
    total = seven.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(seven, total, out=np.zeros_like(seven), where=total > 0), dtype=np.float32)


OTHER_VOTES = ("contempt", "unknown", "NF")
"""FER+'s columns that are no class of the model."""


def all_vote_shares(votes: npt.NDArray[np.integer] | npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Votes n×10 (FER+ columns) → float32 n×10, shares of all votes: the seven classes, then `OTHER_VOTES`."""
    columns = (*_FERPLUS_OF_EMOTION, *map(FERPLUS_COLUMNS.index, OTHER_VOTES))
    ordered = np.asarray(votes, dtype=np.float32)[:, columns]
    total = ordered.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(ordered, total, out=np.zeros_like(ordered), where=total > 0), dtype=np.float32)


def majority_labels(votes: npt.NDArray[np.integer] | npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Votes n×10 → int64 n, the emotion with most votes, or NO_MAJORITY.

    Of equally many votes the first FER+ column wins (neutral before happiness and so on), as `argmax` has it.
    """
    votes = np.asarray(votes)
    winner = votes.argmax(axis=1)
    lookup = np.array([_EMOTION_OF_FERPLUS.get(column, NO_MAJORITY) for column in range(len(FERPLUS_COLUMNS))])
    return np.where(votes.sum(axis=1) > 0, lookup[winner], NO_MAJORITY).astype(np.int64)


def majority_mode_labels(votes: npt.NDArray[np.integer] | npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Votes n×10 → int64 n, FER+'s majority mode (Barsoum et al. 2016): an emotion, CONTEMPT or NO_MAJORITY.

    Single votes are dropped; the winner needs more than half of what is left, so there is one at most. Where it is
    unknown or not a face, there is no label.
    """
    kept = np.where(np.asarray(votes) > 1, votes, 0)
    winner = kept.argmax(axis=1)
    classes = _EMOTION_OF_FERPLUS | {FERPLUS_COLUMNS.index("contempt"): CONTEMPT}
    lookup = np.array([classes.get(column, NO_MAJORITY) for column in range(len(FERPLUS_COLUMNS))])
    return np.where(2 * kept.max(axis=1) > kept.sum(axis=1), lookup[winner], NO_MAJORITY).astype(np.int64)


def check_labels(labels: npt.NDArray[np.int64], class_names: Sequence[str] = EMOTIONS) -> str | None:
    """None when each label is the index of a class, else what is wrong."""
    wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if wrong.size == 0:
        return None
    first = int(wrong[0])
    names = ", ".join(class_names)
    return f"expected labels 0…{len(class_names) - 1} ({names}), got {int(labels[first])} at picture {first}"


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """int64 n → float32 n×c; a negative label gives a row of zeros."""
    known = labels >= 0
    rows = functional.one_hot(labels.clamp(min=0), num_classes).to(torch.float32)
    return rows * known[:, None]
