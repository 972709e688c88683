"""Pictures with another answer than the seven words: areas under curves that are known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.data.test_labels import votes_for
from tests.training.measure.test_vote_figures import stacked
from training.measure.other_votes import REJECT, other_vote_figures

VOTES = stacked(
    votes_for(happiness=10),
    votes_for(sadness=8, contempt=2),
    votes_for(contempt=6, neutral=4),
    votes_for(unknown=10),
    votes_for(NF=9, unknown=1),
    votes_for(),
)


def test_each_class_is_measured_against_all_others() -> None:
    shares = np.array(
        [
            [0.1, 0.0, 0.0],
            [0.3, 0.1, 0.0],
            [0.2, 0.2, 0.0],
            [0.0, 0.1, 0.0],
            [0.0, 0.3, 0.6],
            [1.0, 1.0, 1.0],  # without votes: not measured
        ]
    )
    figures = other_vote_figures(shares, VOTES)
    assert {name: found.num_pictures for name, found in figures.items()} == {
        "contempt": 1,
        "unknown": 1,
        "NF": 1,
        REJECT: 2,
    }
    assert figures["contempt"].auc == pytest.approx(3 / 4)  # above three of four
    assert figures["unknown"].auc == pytest.approx(1.5 / 4)  # above one of four, level with another
    assert figures["NF"].auc == 1.0
    assert figures[REJECT].auc == pytest.approx((3 + 1.5) / 6)
    for found in figures.values():
        low, high = found.interval
        assert 0 <= low <= found.auc <= high <= 1


def test_answers_that_do_not_occur_have_no_figures() -> None:
    assert other_vote_figures(np.full((2, 3), 0.1), VOTES[:2]) == {}
    assert other_vote_figures(np.zeros((1, 3)), VOTES[5:]) == {}
