"""What a run learns from and is measured on: crops and targets in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emostream.errors import ConfigError
from emostream.vision.classify.preprocess import CROP_SIZE_PIXELS, batch_from_pictures
from training.config import TrainConfig
from training.data.face_set import FaceSet
from training.data.labels import (
    FERPLUS_COLUMNS,
    Task,
    all_vote_shares,
    majority_labels,
    one_hot,
    vote_distributions,
)
from training.data.load import load_splits
from training.loop.loss import Targets


@dataclass(frozen=True, slots=True, eq=False)
class TrainSet:
    """Crops and targets of one split, in memory: uint8 n×s×s, and majority int64 n for measuring.

    Without votes there are targets for the labels only, and each picture has weight there.
    """

    crops: Tensor
    targets: Targets
    labels: Tensor
    majority: Tensor
    class_names: tuple[str, ...]

    @property
    def has_votes(self) -> bool:
        """Whether people's votes name one of the classes for at least one picture."""
        return bool((self.majority >= 0).any())

    def __len__(self) -> int:
        return len(self.crops)


def prepare(faces: FaceSet, *, size: int = CROP_SIZE_PIXELS, other_votes: bool = False) -> TrainSet:
    """Pictures → crops of side `size` and targets; blank pictures are left out.

    With `other_votes` the target of the head for votes is the distribution over all ten columns of FER+, of every
    picture with votes: one that half of the people call no face counts half as much for the seven classes.
    """
    faces = faces.without_blank()
    labels = torch.from_numpy(faces.labels)
    num = len(faces)
    votes = np.zeros((num, len(FERPLUS_COLUMNS)), dtype=np.float32) if faces.votes is None else faces.votes
    majority = torch.from_numpy(majority_labels(votes))
    fer2013 = one_hot(labels, len(faces.class_names))
    if other_votes:
        ferplus, has_target = torch.from_numpy(all_vote_shares(votes)), torch.from_numpy(votes.sum(axis=1) > 0)
    else:
        ferplus = torch.zeros_like(fer2013) if faces.votes is None else torch.from_numpy(vote_distributions(votes))
        has_target = majority >= 0
    return TrainSet(
        crops=torch.from_numpy(batch_from_pictures(faces.pictures, size=size)),
        targets=Targets(
            ferplus=ferplus,
            ferplus_weight=has_target.to(torch.float32),
            fer2013=fer2013,
            fer2013_weight=torch.ones(num),
        ),
        labels=labels,
        majority=majority,
        class_names=faces.class_names,
    )


def task_of(training: TrainSet, config: TrainConfig) -> Task:
    """What a net can learn from these pictures with these settings.

    Raises:
        ConfigError: the settings give no weight to anything that is known of them.
    """
    if config.model.other_votes and not training.has_votes:
        raise ConfigError(
            "model.other_votes needs FER+ votes, which the training pictures do not have: set it to false"
        )
    task = Task(training.class_names, has_votes=training.has_votes and config.optim.ferplus_weight > 0)
    if not task.has_votes and config.optim.fer2013_weight == 0:
        raise ConfigError(
            "nothing to learn: optim.fer2013_weight is 0, and votes are not there or have optim.ferplus_weight 0; set "
            "optim.fer2013_weight above 0 to learn from the labels"
        )
    return task


def num_targets_of(targets: Targets, task: Task, config: TrainConfig) -> dict[str, int]:
    """Head → pictures that it learns from; a head without any must not be served."""
    weights = {"fer2013": (targets.fer2013_weight, config.optim.fer2013_weight)}
    if task.has_votes:
        weights["ferplus"] = (targets.ferplus_weight, config.optim.ferplus_weight)
    return {head: int((of_picture > 0).sum()) if of_head > 0 else 0 for head, (of_picture, of_head) in weights.items()}


def load_sets(config: TrainConfig) -> tuple[TrainSet, TrainSet]:
    """What the settings name: (training, validation), the latter no larger than `validation.max_crops`.

    Raises:
        SourceRejectedError: the data cannot be used.
        ConfigError: a split is not there.
    """
    training, validation = load_splits(config.data)
    limit = config.validation.max_crops
    if limit is not None and limit < len(validation):
        # A draw, since many sets are sorted by class; the same one in every run.
        validation = validation.take(np.random.default_rng(0).permutation(len(validation))[:limit])
    size = config.data.crop_pixels
    return prepare(training, size=size, other_votes=config.model.other_votes), prepare(validation, size=size)
