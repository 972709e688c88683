"""Pure: the labels of data sets → the classes of the model, in the order of `emostream.emotion.EMOTIONS`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emostream.emotion import EMOTIONS

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

NO_MAJORITY = -1
"""Majority index of a picture that most people called contempt, unknown or not a face, or that has no votes."""


def vote_distributions(votes: npt.NDArray[np.integer] | npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Votes n×10 (FER+ columns) → float32 n×7 that sums to 1 in each row, or to 0 where no vote is one of the seven."""
    seven = np.asarray(votes, dtype=np.float32)[:, _FERPLUS_OF_EMOTION]
    total = seven.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(seven, total, out=np.zeros_like(seven), where=total > 0), dtype=np.float32)


def majority_labels(votes: npt.NDArray[np.integer] | npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Votes n×10 → int64 n, the emotion with most votes, or NO_MAJORITY.

    Of equally many votes the first FER+ column wins (neutral before happiness and so on), as `argmax` has it.
    """
    votes = np.asarray(votes)
    winner = votes.argmax(axis=1)
    lookup = np.array([_EMOTION_OF_FERPLUS.get(column, NO_MAJORITY) for column in range(len(FERPLUS_COLUMNS))])
    return np.where(votes.sum(axis=1) > 0, lookup[winner], NO_MAJORITY).astype(np.int64)


def check_labels(labels: npt.NDArray[np.int64]) -> str | None:
    """None when each label is a class index, else what is wrong."""
    wrong = np.flatnonzero((labels < 0) | (labels >= len(EMOTIONS)))
    if wrong.size == 0:
        return None
    first = int(wrong[0])
    return f"expected labels 0…{len(EMOTIONS) - 1} ({', '.join(EMOTIONS)}), got {int(labels[first])} at picture {first}"
