"""What a measured split shares with the pictures that were learned from: photographs, and how far people agree.

FER2013 was collected from the web, and a fifth of its PublicTest pictures show a photograph that is in Training, too,
cut, lit or mirrored differently. A net that learned a photograph knows its other cuttings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emostream.errors import ConfigError
from training.data.duplicates import duplicate_groups, exact_groups, near_duplicates
from training.data.face_set import FaceSet, join_face_sets
from training.data.load import HELD_OUT, TRAINING_SPLIT, held_out_parts, open_data_set
from training.measure.second_panel import SecondPanel, second_panel
from training.measure.vote_figures import VoteStatistics, vote_statistics

MAX_PICTURES = 100_000
"""The search in a larger set takes a minute or more, and is made on demand only."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingOverlap:
    """A measured set beside the one that was learned from.

    Attributes:
        known: bool n, pictures whose photograph was learned from, exactly or nearly. Blank ones show no photograph.
        training_votes: how far people agree on what was learned from; None without votes.
        second_panel: how often another panel says the same of a photograph there; None where no photograph has two.
    """

    known: npt.NDArray[np.bool_]
    training_votes: VoteStatistics | None
    second_panel: SecondPanel | None = None


def overlap_with(training: FaceSet, faces: FaceSet, *, show_progress: bool = False) -> TrainingOverlap:
    """Look for the photographs of `faces` among those of `training`."""
    pictures = join_face_sets([training, faces]).pictures
    groups = duplicate_groups(pictures, near=near_duplicates(pictures, show_progress=show_progress))
    known = np.isin(groups[len(training) :], groups[: len(training)])
    return TrainingOverlap(
        known=known & ~faces.blank,
        training_votes=None if training.votes is None else vote_statistics(training.votes),
        second_panel=_second_panel_of(training, groups[: len(training)]),
    )


def _second_panel_of(training: FaceSet, groups: npt.NDArray[np.int64]) -> SecondPanel | None:
    """Over one of each picture: FER+ has the same votes for all its exact copies, those of one panel."""
    if training.votes is None:
        return None
    is_first = (exact_groups(training.pictures) == np.arange(len(training))) & ~training.blank
    return second_panel(training.votes[is_first], groups[is_first])


def load_with_overlap(
    path: Path,
    *,
    split: str | None,
    class_names: Sequence[str] | None = None,
    look: bool | None = None,
    show_progress: bool = False,
) -> tuple[FaceSet, TrainingOverlap | None]:
    """A split as `load_faces` reads it, and what it shares with the split `training` of the same data.

    Args:
        path: of the data.
        split: which one to measure; `held-out` is beside what is left of the split `training`.
        class_names: of the net that is measured, as of `load_faces`.
        look: for photographs that both have; None where there is such a split and the two are not too large.
        show_progress: show bars.

    Raises:
        SourceRejectedError: the data cannot be used.
        ConfigError: a split is not there, or `look` and there is nothing to compare with.
    """
    data_set = open_data_set(path, show_progress=show_progress)
    if split == HELD_OUT:
        training, faces = held_out_parts(data_set, class_names=class_names)
        return faces, None if look is False else overlap_with(training, faces, show_progress=show_progress)
    faces = data_set.faces(split, class_names=class_names)
    can_look = TRAINING_SPLIT in data_set.splits and TRAINING_SPLIT not in data_set.choose(split)
    if look and not can_look:
        raise ConfigError(
            f"data {path} has no split {TRAINING_SPLIT!r} beside what is measured: photographs that were learned from "
            "is unknown; leave --near-duplicates out"
        )
    if look is False or not can_look:
        return faces, None
    training = data_set.load(TRAINING_SPLIT)
    if look is None and len(training) + len(faces) > MAX_PICTURES:
        return faces, None
    return faces, overlap_with(training, faces, show_progress=show_progress)
