"""What a second panel says, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.training.data.test_labels import votes_for
from tests.training.measure.test_vote_figures import stacked
from training.measure.second_panel import second_panel


def test_each_other_picture_of_a_photograph_is_a_panel() -> None:
    votes = stacked(
        votes_for(happiness=9, neutral=1),
        votes_for(happiness=7, neutral=3),
        votes_for(neutral=6, happiness=4),
        votes_for(sadness=10),
        votes_for(sadness=10),
        votes_for(anger=10),
        votes_for(unknown=10),
        votes_for(sadness=10),
    )
    panel = second_panel(votes, np.array([0, 0, 0, 1, 1, 2, 3, 3]))
    assert panel is not None
    # Photograph 0: two agree with one of two others each, the third with none. Photograph 3: sad, and unknown.
    assert panel.plurality.num_pictures == 6
    assert panel.plurality.num_photographs == 3
    assert panel.plurality.accuracy == pytest.approx((0.5 + 0.5 + 0 + 1 + 1 + 0) / 6)
    assert panel.majority_mode == panel.plurality
    assert {votes: figures.accuracy for votes, figures in panel.by_winner.items()} == {
        6: 0.0,
        7: 0.5,
        9: 0.5,
        10: pytest.approx(2 / 3),
    }
    assert panel.accuracy_at({7: 0.25, 10: 0.75, 3: 0.5}) == pytest.approx(0.25 * 0.5 + 0.75 * 2 / 3)
    assert panel.accuracy_at({3: 1.0}) is None
    assert panel.as_dict()["by_winner_votes"]["7"]["accuracy"] == 0.5


def test_majority_mode_leaves_unclear_pictures_out() -> None:
    panel = second_panel(stacked(votes_for(happiness=4, sadness=4, fear=2), votes_for(happiness=10)), np.zeros(2, int))
    assert panel is not None
    assert (panel.plurality.num_pictures, panel.plurality.accuracy) == (2, 1.0)
    assert panel.majority_mode is not None
    assert panel.majority_mode.num_pictures == 1


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [votes_for(happiness=10)],
        [votes_for(happiness=10), votes_for()],
        [votes_for(unknown=10), votes_for(NF=10)],
    ],
    ids=["nothing", "one", "one without votes", "no words"],
)
def test_nothing_to_compare(rows: list[np.ndarray]) -> None:
    votes = stacked(*rows) if rows else np.zeros((0, 10), np.float32)
    assert second_panel(votes, np.zeros(len(votes), np.int64)) is None


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(10)), elements=st.integers(0, 10)), st.data())
def test_laws(votes: np.ndarray, data: st.DataObject) -> None:
    groups = data.draw(hnp.arrays(np.int64, len(votes), elements=st.integers(0, 5)))
    panel = second_panel(votes, groups)
    if panel is None:
        return
    low, high = panel.plurality.interval
    assert 0 <= low <= panel.plurality.accuracy <= high <= 1
    shares = {count: figures.num_pictures / panel.plurality.num_pictures for count, figures in panel.by_winner.items()}
    assert panel.accuracy_at(shares) == pytest.approx(panel.plurality.accuracy)
    again = second_panel(votes[::-1], groups[::-1])
    assert again is not None
    assert again.plurality.accuracy == pytest.approx(panel.plurality.accuracy)
