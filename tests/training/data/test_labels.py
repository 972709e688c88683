"""Labels and votes: order of classes, ties, pictures without a majority."""

from __future__ import annotations

import numpy as np
import pytest

from emostream.domain.emotion import EMOTIONS
from emostream.errors import SourceRejectedError
from training.data.labels import (
    AFFECTNET_LABELS,
    CK_PLUS_LABELS,
    CONTEMPT,
    EXPW_LABELS,
    FER2013_LABELS,
    FERPLUS_COLUMNS,
    NO_MAJORITY,
    RAF_DB_LABELS,
    LabelMap,
    check_labels,
    emotion_of_number,
    majority_labels,
    majority_mode_labels,
    vote_distributions,
)

# The meaning of each FER+ column, written out again.
EMOTION_OF_COLUMN = {
    "neutral": "neutral",
    "happiness": "happy",
    "surprise": "surprise",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
}


def votes_for(**counts: int) -> np.ndarray:
    return np.array([[counts.get(column, 0) for column in FERPLUS_COLUMNS]])


def test_each_column_goes_to_its_class() -> None:
    for column, emotion in EMOTION_OF_COLUMN.items():
        votes = votes_for(**{column: 10})
        assert EMOTIONS[majority_labels(votes)[0]] == emotion
        assert vote_distributions(votes)[0].argmax() == EMOTIONS.index(emotion)


def test_votes_for_other_classes_are_dropped_and_the_rest_sums_to_one() -> None:
    distribution = vote_distributions(votes_for(happiness=3, sadness=1, contempt=2, unknown=4))[0]
    assert distribution[EMOTIONS.index("happy")] == 0.75
    assert distribution[EMOTIONS.index("sad")] == 0.25
    assert distribution.sum() == 1


def test_no_majority_without_votes_or_where_most_votes_are_for_other_classes() -> None:
    for votes in (votes_for(contempt=6, neutral=4), votes_for(unknown=10), votes_for(NF=10), votes_for()):
        assert majority_labels(votes)[0] == NO_MAJORITY
    assert vote_distributions(votes_for(NF=10))[0].sum() == 0


def test_a_tie_goes_to_the_first_column() -> None:
    assert EMOTIONS[majority_labels(votes_for(neutral=5, anger=5))[0]] == "neutral"
    assert EMOTIONS[majority_labels(votes_for(fear=5, contempt=5))[0]] == "fear"


def test_labels_out_of_range_are_named() -> None:
    assert check_labels(np.array([0, 6])) is None
    assert "got 7 at picture 1" in str(check_labels(np.array([0, 7])))
    assert "got -1 at picture 0" in str(check_labels(np.array([-1, 7])))


# The numbers of each data set, written out again from its own description.
NUMBERS = {
    "FER2013": (FER2013_LABELS, 0, "angry disgust fear happy sad surprise neutral"),
    "RAF-DB": (RAF_DB_LABELS, 1, "surprise fear disgust happy sad angry neutral"),
    "AffectNet": (AFFECTNET_LABELS, 0, "neutral happy sad surprise fear disgust angry - - - -"),
    "CK+": (CK_PLUS_LABELS, 0, "neutral angry - disgust fear happy sad surprise"),
    "ExpW": (EXPW_LABELS, 0, "angry disgust fear happy sad surprise neutral"),
}


@pytest.mark.parametrize(("labels", "first", "meanings"), NUMBERS.values(), ids=NUMBERS.keys())
def test_the_numbers_of_a_data_set_mean_what_it_says(labels: LabelMap, first: int, meanings: str) -> None:
    expected = {k: None if name == "-" else EMOTIONS.index(name) for k, name in enumerate(meanings.split(), first)}
    assert dict(labels) == expected


def test_a_number_the_data_set_does_not_have_is_named() -> None:
    assert emotion_of_number(7, AFFECTNET_LABELS, where="a.csv, line 3") is None
    with pytest.raises(SourceRejectedError, match=r"a\.csv, line 3: .*1…7.* 0"):
        emotion_of_number(0, RAF_DB_LABELS, where="a.csv, line 3")


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        (votes_for(happiness=6, sadness=4), EMOTIONS.index("happy")),
        # Half is no majority, and of two that are level neither is.
        (votes_for(happiness=5, sadness=5), NO_MAJORITY),
        (votes_for(happiness=5, sadness=3, anger=2), NO_MAJORITY),
        # Single votes are dropped first: five of the eight that are left.
        (votes_for(happiness=5, sadness=3, anger=1, fear=1), EMOTIONS.index("happy")),
        (votes_for(happiness=2, **dict.fromkeys(("sadness", "anger", "fear", "disgust"), 1)), EMOTIONS.index("happy")),
        # Nothing but single votes.
        (votes_for(**dict.fromkeys(FERPLUS_COLUMNS, 1)), NO_MAJORITY),
        (votes_for(contempt=7, neutral=3), CONTEMPT),
        # Unknown and no face are no class, though their votes count.
        (votes_for(unknown=8, neutral=2), NO_MAJORITY),
        (votes_for(NF=10), NO_MAJORITY),
        (votes_for(neutral=4, unknown=4, anger=2), NO_MAJORITY),
        (votes_for(), NO_MAJORITY),
    ],
)
def test_majority_mode_takes_the_clear_cases_only(votes: np.ndarray, expected: int) -> None:
    assert majority_mode_labels(votes).tolist() == [expected]
    assert majority_mode_labels(votes.astype(np.float32)).tolist() == [expected]
