"""Chunks: consecutive frames that pass through the pipeline together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emostream.domain.frame import Frame
from emostream.telemetry.tracing import ChunkTrace
from emostream.vision.classify.classifier import Classified
from emostream.vision.track.follower import FollowedFaces


@dataclass(frozen=True, slots=True, eq=False)
class FollowedChunk:
    """Consecutive frames with their faces.

    Attributes:
        frames: in order; without their pixels unless an observer needs them.
        followed: the faces of each frame.
        crops: uint8, n×S×S, the crops of all faces, frame by frame.
        crop_seconds: time spent cutting the crops.
        num_dropped: frames dropped before the first of these.
        is_classified: for each frame, whether `crops` has the crops of its faces.
        trace: of the traced frames among them; None when none is traced.
    """

    frames: Sequence[Frame]
    followed: Sequence[FollowedFaces]
    crops: npt.NDArray[np.uint8]
    crop_seconds: float
    num_dropped: int
    is_classified: Sequence[bool]
    trace: ChunkTrace | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ScoredChunk:
    """A chunk with the probabilities of its crops, one row per crop."""

    chunk: FollowedChunk
    classified: Classified
