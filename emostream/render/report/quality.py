"""Describes how reliable the values of a report are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from emostream.domain.event import UNKNOWN, EmotionEvent

_FEW = 0.01  # below one face in a hundred the share is not stated exactly
_EXPLANATIONS = {
    "small": "smaller than 40 pixels; the model was trained on faces of 48 pixels",
    "blurred": "blurred",
    "dark": "dark",
    "profile": "turned away from the camera",
    "pitched": "looking far up or down",
    "cut": "eyes or mouth outside the picture",
    "occluded": "eyes or mouth covered",
}


@dataclass(slots=True)
class QualityCounts:
    """Counters of a run.

    Attributes:
        num_frames, num_empty_frames: all frames, and those without a face.
        num_faces: over all frames.
        num_flagged: faces with at least one quality flag.
        num_unknown: faces for which no emotion is named.
        num_dropped, num_unclassified: dropped frames, and frames that repeat earlier scores.
        flags: faces per quality flag.
    """

    num_frames: int = 0
    num_empty_frames: int = 0
    num_faces: int = 0
    num_flagged: int = 0
    num_unknown: int = 0
    num_dropped: int = 0
    num_unclassified: int = 0
    flags: Counter[str] = field(default_factory=Counter)

    def add(self, event: EmotionEvent) -> None:
        """Count an event."""
        self.num_frames += 1
        self.num_empty_frames += not event.faces
        self.num_faces += len(event.faces)
        self.num_dropped += event.num_dropped
        self.num_unclassified += not event.is_classified
        for face in event.faces:
            self.num_flagged += bool(face.quality)
            self.num_unknown += face.dominant == UNKNOWN
            self.flags.update(face.quality)


def quality_notes(counts: QualityCounts, *, num_corrupt: int = 0, problem: str = "") -> list[str]:
    """Sentences about quality, the most serious first; at least one.

    Args:
        counts: of the whole run.
        num_corrupt: corrupt frames of the source.
        problem: why the source ended early; empty when it did not.
    """
    notes = [f"The source ended early: {problem}"] if problem else []
    if counts.num_faces == 0:
        return [*notes, f"No face was found in {counts.num_frames} frames."]
    notes += _lost(counts, num_corrupt)
    if counts.num_flagged == 0:
        notes.append("No face had a quality flag.")
    else:
        flagged = counts.num_flagged / counts.num_faces
        notes.append(f"{flagged:.0%} of the faces have a quality flag; their scores are less reliable:")
    for flag, count in counts.flags.most_common():
        share = count / counts.num_faces
        shown = f"{share:.0%}" if share >= _FEW else "under 1%"
        notes.append(f"{shown} {_EXPLANATIONS.get(flag, flag)}.")
    if counts.num_unknown:
        notes.append(
            f"{counts.num_unknown} faces count as unknown: too little of them is seen, or no emotion is much more "
            "probable than the others."
        )
    return notes


def _lost(counts: QualityCounts, num_corrupt: int) -> list[str]:
    sentences = (
        (num_corrupt, "frames of the source are corrupt."),
        (counts.num_dropped, "frames were dropped because the source was faster than the machine."),
        (counts.num_unclassified, "frames repeat earlier scores because the machine was overloaded."),
        (counts.num_empty_frames, "frames have no face."),
    )
    return [f"{number} {sentence}" for number, sentence in sentences if number]
