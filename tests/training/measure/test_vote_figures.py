"""Figures against votes: each reading counts the pictures that it is defined for, with known answers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emostream.domain.emotion import EMOTIONS
from tests.training.data.test_labels import votes_for
from training.data.labels import majority_labels, vote_distributions
from training.measure.vote_figures import vote_figures, vote_statistics

HAPPY, SAD, ANGRY = (EMOTIONS.index(name) for name in ("happy", "sad", "angry"))


def stacked(*rows: np.ndarray) -> npt.NDArray[np.float32]:
    return np.concatenate(rows).astype(np.float32)


def surely(*answers: int) -> npt.NDArray[np.float64]:
    """Probability 0.7 for each answer, 0.05 for each other class."""
    return np.full((len(answers), 7), 0.05) + 0.65 * np.eye(7)[list(answers)]


VOTES = stacked(
    votes_for(happiness=10),
    votes_for(happiness=10),
    votes_for(sadness=6, happiness=4),
    votes_for(sadness=5, happiness=4, anger=1),
    votes_for(sadness=4, happiness=4, anger=2),
    votes_for(contempt=8, neutral=2),
    votes_for(unknown=10),
    votes_for(),
)
ANSWERS = surely(HAPPY, HAPPY, SAD, HAPPY, HAPPY, HAPPY, SAD, SAD)


def test_each_reading_counts_its_pictures() -> None:
    figures = vote_figures(ANSWERS, VOTES)
    assert figures is not None
    assert figures.majority_mode is not None
    assert figures.majority_mode_with_contempt is not None
    # 5 : 4 with a single vote dropped is a majority of nine; 4 : 4 : 2 is none.
    assert (figures.majority_mode.num_pictures, figures.majority_mode.accuracy) == (4, 0.75)
    assert figures.majority_mode_with_contempt.num_pictures == 5
    assert figures.majority_mode_with_contempt.accuracy == pytest.approx(3 / 5)
    assert figures.majority_mode_with_contempt.per_class["contempt"].recall == 0
    assert [(row.votes, row.num_pictures, row.accuracy) for row in figures.by_winner] == [
        (4, 1, 1.0),  # of 4 : 4 the first FER+ column wins
        (5, 1, 0.0),
        (6, 1, 1.0),
        (10, 2, 1.0),
    ]
    for row in figures.by_winner:
        assert row.interval[0] <= row.accuracy <= row.interval[1]
        assert row.interval[1] - row.interval[0] > 0.5, "a handful of pictures is certain of nothing"


def test_statistics_say_how_far_people_agree() -> None:
    statistics = vote_statistics(VOTES)
    assert statistics is not None
    assert statistics.num_pictures == 7  # one has no votes
    assert statistics.all_agree == pytest.approx(3 / 7)  # unknown is an answer, too
    assert statistics.winner_shares == {4: 0.2, 5: 0.2, 6: 0.2, 10: 0.4}
    assert statistics.as_dict()["winner_shares"]["10"] == 0.4


def test_cross_entropy_is_to_the_shares_of_the_seven_words() -> None:
    votes = stacked(votes_for(happiness=6, sadness=2, unknown=2), votes_for(happiness=10), votes_for(NF=10))
    figures = vote_figures(surely(HAPPY, SAD, SAD), votes)
    assert figures is not None
    expected = -(0.75 * np.log(0.7) + 0.25 * np.log(0.05) + np.log(0.05)) / 2
    assert figures.cross_entropy == pytest.approx(expected)
    assert figures.statistics.entropy == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / 2)


def test_accuracy_if_people_agreed_as_elsewhere() -> None:
    figures = vote_figures(ANSWERS, VOTES)
    assert figures is not None
    assert figures.accuracy_at(figures.statistics.winner_shares) == pytest.approx(0.8)
    assert figures.accuracy_at({5: 0.5, 10: 0.5}) == 0.5
    # What does not occur here cannot be weighed.
    assert figures.accuracy_at({5: 0.25, 10: 0.25, 9: 0.5}) == 0.5
    assert figures.accuracy_at({9: 1.0}) is None


def test_nothing_to_measure() -> None:
    assert vote_figures(surely(HAPPY), stacked(votes_for())) is None
    only_contempt = vote_figures(surely(HAPPY), stacked(votes_for(contempt=10)))
    assert only_contempt is not None
    assert only_contempt.majority_mode is None
    assert only_contempt.majority_mode_with_contempt is not None
    assert only_contempt.majority_mode_with_contempt.accuracy == 0
    assert only_contempt.cross_entropy is None
    assert only_contempt.by_winner == ()
    assert only_contempt.accuracy_at({10: 1.0}) is None


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(10)), elements=st.integers(0, 10)), st.data())
def test_laws(votes: npt.NDArray[np.float32], data: st.DataObject) -> None:
    shape = (len(votes), 7)
    logits = data.draw(hnp.arrays(np.float64, shape, elements=st.floats(-4, 4)))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    figures = vote_figures(probabilities, votes)
    if figures is None:
        assert votes.sum() == 0
        return
    known = majority_labels(votes) >= 0
    assert sum(row.num_pictures for row in figures.by_winner) == known.sum()
    if figures.cross_entropy is not None:
        assert figures.statistics.entropy is not None
        assert figures.cross_entropy >= figures.statistics.entropy - 1e-6
        right = (probabilities.argmax(axis=1) == majority_labels(votes))[known].mean()
        assert figures.accuracy_at(figures.statistics.winner_shares) == pytest.approx(right)
        perfect = vote_figures(vote_distributions(votes), votes)
        assert perfect is not None
        assert perfect.cross_entropy == pytest.approx(figures.statistics.entropy, abs=1e-5)
