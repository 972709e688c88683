"""The scorer, and how well ids stay with people who cross each other."""

from __future__ import annotations

import pytest

from emostream.config import TrackSettings
from emostream.domain.face import BoxXyxy
from emostream.vision.detect.video_search import VideoSearch
from emostream.vision.track.follower import FaceFollower
from tests.vision.detect.real_model import real_detector
from tests.vision.track.crossings import crossings, crowd
from tests.vision.track.identity import identity_of, identity_on

HERE: BoxXyxy = (0.0, 0.0, 40.0, 40.0)
THERE: BoxXyxy = (200.0, 0.0, 240.0, 40.0)


@pytest.mark.parametrize(
    ("given", "num_matched", "num_switches"),
    [
        ([[(7, HERE), (8, THERE)]] * 4, 8, 0),
        ([[(7, HERE), (8, THERE)]] * 3 + [[(8, HERE), (7, THERE)]], 6, 2),
        ([[(7, HERE)]] * 4, 4, 0),
        ([[(7, HERE), (8, THERE), (9, (400.0, 0.0, 440.0, 40.0))]] * 4, 8, 0),
        ([[]] * 4, 0, 0),
    ],
    ids=["right", "changed at the end", "one missed", "one too many", "nobody found"],
)
def test_figures_of_known_cases(given: list[list[tuple[int, BoxXyxy]]], num_matched: int, num_switches: int) -> None:
    truth = [[(1, HERE), (2, THERE)]] * 4
    identity = identity_of(truth, given)
    assert (identity.num_matched, identity.num_switches) == (num_matched, num_switches)
    assert identity.idf1 == pytest.approx(2 * num_matched / (8 + sum(map(len, given))))


@pytest.mark.heavy
def test_everybody_in_a_crowd_is_found_and_keeps_an_id() -> None:
    """16 people, half of whom a single search finds too weakly to start a track."""
    detect = real_detector(min_score=0.3).detect
    search = VideoSearch(detect, look=detect, confirm_score=TrackSettings().confirm_score, max_faces=64)
    identity = identity_on(crowd(), FaceFollower(search, settings=TrackSettings(), detections_per_second=6))
    assert identity.num_people == 16
    assert 16 <= identity.num_ids <= 17
    assert identity.idf1 > 0.92


@pytest.mark.heavy
@pytest.mark.parametrize("name", crossings())
def test_people_who_cross_keep_their_ids(name: str) -> None:
    """With the searches of the default settings; every frame searched gives 0.97."""
    detect = real_detector().detect
    follower = FaceFollower(detect, settings=TrackSettings(), detections_per_second=6)
    identity = identity_on(crossings()[name](), follower)
    assert (identity.num_ids, identity.num_switches) == (identity.num_people, 0)
    assert identity.idf1 > 0.8
