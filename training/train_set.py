"""What a run learns from and is measured on: crops and targets in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emostream.classify.preprocess import CROP_SIZE_PIXELS, batch_from_pictures
from emostream.emotion import EMOTIONS
from training.config import TrainConfig
from training.data import load_splits
from training.faces import FaceSet
from training.labels import majority_labels, vote_distributions
from training.loss import Targets, one_hot


@dataclass(frozen=True, slots=True, eq=False)
class TrainSet:
    """Crops and targets of one split, in memory: uint8 n×s×s, and majority int64 n for measuring."""

    crops: Tensor
    targets: Targets
    labels: Tensor
    majority: Tensor

    def __len__(self) -> int:
        return len(self.crops)


def prepare(faces: FaceSet, *, size: int = CROP_SIZE_PIXELS) -> TrainSet:
    """Pictures → crops of side `size` and targets; blank pictures are left out."""
    faces = faces.without_blank()
    labels = torch.from_numpy(faces.labels)
    num = len(faces)
    votes = np.zeros((num, 10), dtype=np.float32) if faces.votes is None else faces.votes
    majority = torch.from_numpy(majority_labels(votes))
    return TrainSet(
        crops=torch.from_numpy(batch_from_pictures(faces.pictures, size=size)),
        targets=Targets(
            ferplus=torch.from_numpy(vote_distributions(votes)),
            ferplus_weight=(majority >= 0).to(torch.float32),
            fer2013=one_hot(labels, len(EMOTIONS)),
            fer2013_weight=torch.ones(num),
        ),
        labels=labels,
        majority=majority,
    )


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
    return prepare(training, size=size), prepare(validation, size=size)
