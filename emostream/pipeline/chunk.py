"""Chunks: consecutive frames that pass through the pipeline together."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emostream.domain.frame import Frame
from emostream.telemetry.tracing import ChunkTrace
from emostream.vision.classify.changed_crops import ChangedCrops
from emostream.vision.classify.classifier import Classified
from emostream.vision.classify.covers import Covered, covered_parts
from emostream.vision.detect.align import crop_faces
from emostream.vision.track.follower import FollowedFaces


@dataclass(frozen=True, slots=True, eq=False)
class FollowedChunk:
    """Consecutive frames with their faces.

    Attributes:
        frames: in order; without their pixels unless an observer needs them.
        followed: the faces of each frame.
        crops: uint8, n×S×S, the crops to classify, frame by frame.
        covered: what is covered in each of them.
        crop_seconds: time spent cutting, comparing and looking at the crops.
        num_dropped: frames dropped before the first of these.
        is_classified: for each frame, whether `crops` has crops of its faces.
        is_chosen: for each face of these frames, in order, whether `crops` has its crop.
        trace: of the traced frames among them; None when none is traced.
    """

    frames: Sequence[Frame]
    followed: Sequence[FollowedFaces]
    crops: npt.NDArray[np.uint8]
    covered: Sequence[Covered]
    crop_seconds: float
    num_dropped: int
    is_classified: Sequence[bool]
    is_chosen: Sequence[bool]
    trace: ChunkTrace | None = None


def cut_chunk(
    frames: Sequence[Frame],
    followed: Sequence[FollowedFaces],
    *,
    size: int,
    changed: ChangedCrops | None,
    undecided: Collection[int | None] = (),
    is_classified: Sequence[bool] | None = None,
    known: Sequence[Frame] | None = None,
    num_dropped: int = 0,
    trace: ChunkTrace | None = None,
) -> FollowedChunk:
    """Cut the crops of consecutive frames and choose which of them to classify.

    Args:
        frames: in order, with their pixels.
        followed: the faces of each.
        size: side of the crops in pixels.
        changed: chooses; None classifies every crop.
        undecided: tracks whose crops are classified in any case.
        is_classified: for each frame, whether its faces are classified at all; None: all.
        known: what the chunk keeps of the frames; None: all.
        num_dropped, trace: as in `FollowedChunk`.
    """
    started = time.perf_counter()
    is_classified = [True] * len(frames) if is_classified is None else is_classified
    faces = [found.faces if due else () for found, due in zip(followed, is_classified, strict=True)]
    crops = crop_faces(frames, faces, size=size)
    is_chosen = [True] * len(crops)
    if changed is not None and len(crops):
        is_chosen, start = [], 0
        for frame, of_frame, due in zip(frames, faces, is_classified, strict=True):
            if due:
                own = crops[start : start + len(of_frame)]
                if frame is frames[-1] and len(frames) > 1:  # so that those before it lie between two results
                    undecided = {face.track_id for face in of_frame}
                is_chosen += changed.choose(of_frame, own, pts_seconds=frame.pts_seconds, undecided=undecided)
                start += len(of_frame)
        crops = crops[np.array(is_chosen)]
    covered = covered_parts(crops)
    seconds = time.perf_counter() - started
    return FollowedChunk(
        known or frames, followed, crops, covered, seconds, num_dropped, is_classified, is_chosen, trace
    )


@dataclass(frozen=True, slots=True, eq=False)
class ScoredChunk:
    """A chunk with the probabilities of its crops, one row per crop."""

    chunk: FollowedChunk
    classified: Classified
