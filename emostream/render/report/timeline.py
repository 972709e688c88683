"""Records each person's expressions over time, in bounded memory for streams of any length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from emostream.domain.event import EmotionEvent, FaceEmotion

MAX_BINS = 240
"""Limit of the number of bins; when it is exceeded, bins are merged in pairs."""
_FIRST_BIN_SECONDS = 0.1
_MAX_GAP_SECONDS = 1.0  # a face that is absent for longer starts a new span
_MAX_GAP_FRAMES = 2.5  # but not one that is missing in fewer frames than that, of a source with few frames a second
_MAX_SPANS = 400  # per person; then the shorter half is dropped


@dataclass(slots=True)
class Span:
    """An interval in which a person's face kept one dominant emotion.

    Attributes:
        emotion: the dominant emotion.
        start_seconds, end_seconds: in source time.
        num_frames: frames in it.
        confidence_sum: sum of the dominant emotion's confidence over the frames.
    """

    emotion: str
    start_seconds: float
    end_seconds: float
    num_frames: int = 0
    confidence_sum: float = 0.0

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.end_seconds - self.start_seconds

    @property
    def confidence(self) -> float:
        """Mean confidence, 0…1."""
        return self.confidence_sum / self.num_frames


@dataclass(slots=True)
class Bin:
    """The values of one person, or of everybody, in one interval.

    Attributes:
        num_frames: frames with this face; of everybody, faces in all frames.
        probability_sums: sum of the smoothed probabilities, per emotion.
        dominant_counts: frames, or faces, per dominant emotion.
    """

    num_frames: int = 0
    probability_sums: Counter[str] = field(default_factory=Counter)
    dominant_counts: Counter[str] = field(default_factory=Counter)

    def add(self, other: Bin) -> None:
        """Add the values of another bin."""
        self.num_frames += other.num_frames
        self.probability_sums.update(other.probability_sums)
        self.dominant_counts.update(other.dominant_counts)

    @property
    def dominant(self) -> str:
        """The emotion that was dominant in most frames."""
        return self.dominant_counts.most_common(1)[0][0]

    def mean_of(self, emotion: str) -> float:
        """Mean smoothed probability."""
        return self.probability_sums[emotion] / self.num_frames

    def share_of(self, emotion: str) -> float:
        """Share of the frames, or faces, in which it was dominant."""
        return self.dominant_counts[emotion] / self.num_frames


@dataclass(slots=True)
class PersonTimeline:
    """The timeline of one person.

    Attributes:
        spans: in order of time.
        bins: bin index → values; bins without the face are absent.
        num_lost_spans: short spans that were dropped to limit memory.
    """

    spans: list[Span] = field(default_factory=list)
    bins: dict[int, Bin] = field(default_factory=dict)
    num_lost_spans: int = 0

    def add(self, face: FaceEmotion, seen: Bin, *, pts_seconds: float, bin_index: int, max_gap_seconds: float) -> None:
        """Add a frame; `seen` holds the same as a bin of one frame."""
        span = self.spans[-1] if self.spans else None
        is_near = span is not None and pts_seconds - span.end_seconds <= max_gap_seconds
        if span is not None and is_near:
            span.end_seconds = pts_seconds  # a span extends to the start of the next one
        if span is None or not is_near or span.emotion != face.dominant:
            if len(self.spans) >= _MAX_SPANS:
                self._forget_short()
            span = Span(face.dominant, pts_seconds, pts_seconds)
            self.spans.append(span)
        span.num_frames += 1
        span.confidence_sum += face.confidence
        self.bins.setdefault(bin_index, Bin()).add(seen)

    def _forget_short(self) -> None:
        *past, last = self.spans
        kept = sorted(past, key=lambda span: -span.seconds)[: _MAX_SPANS // 2]
        self.num_lost_spans += len(past) - len(kept)
        self.spans = [*sorted(kept, key=lambda span: span.start_seconds), last]

    def double_bins(self) -> None:
        """Merge neighbouring bins in pairs."""
        self.bins = merged_bins(self.bins, 2)


class Interval(NamedTuple):
    """A bin and the time for which its values stand."""

    start_seconds: float
    end_seconds: float
    values: Bin


def merged_bins(bins: Mapping[int, Bin], num: int) -> dict[int, Bin]:
    """Merge each `num` neighbouring bins into one."""
    merged: dict[int, Bin] = {}
    for index, one in bins.items():
        merged.setdefault(index // num, Bin()).add(one)
    return merged


class StreamTimeline:
    """The timelines of all persons of one run, and of everybody together.

    Attributes:
        bin_seconds: length of a bin.
        start_seconds, end_seconds: of the whole run, also where no face is seen.
        everybody: bin index → values of all faces; bins without a face are absent.
        frames: bin index → number of frames.
    """

    def __init__(self) -> None:
        self.bin_seconds = _FIRST_BIN_SECONDS
        self.start_seconds = 0.0
        self.end_seconds = 0.0
        self.everybody: dict[int, Bin] = {}
        self.frames: Counter[int] = Counter()
        self._persons: dict[int, PersonTimeline] = {}
        self._has_begun = False

    @property
    def persons(self) -> Mapping[int, PersonTimeline]:
        """Track id → timeline, in order of appearance."""
        return self._persons

    def add(self, event: EmotionEvent) -> None:
        """Add the next event."""
        if not self._has_begun:
            self._has_begun, self.start_seconds = True, event.pts_seconds
        self.end_seconds = max(self.end_seconds, event.pts_seconds)
        while self._bin_of(event.pts_seconds) >= MAX_BINS:
            self.bin_seconds *= 2
            self.everybody = merged_bins(self.everybody, 2)
            frames: Counter[int] = Counter()
            for index, num_frames in self.frames.items():
                frames[index // 2] += num_frames
            self.frames = frames
            for person in self._persons.values():
                person.double_bins()
        bin_index = self._bin_of(event.pts_seconds)
        self.frames[bin_index] += 1
        max_gap_seconds = max(_MAX_GAP_SECONDS, self._some_frames_seconds)
        for face in event.faces:
            seen = Bin(1, Counter(face.smoothed.as_dict()), Counter({face.dominant: 1}))
            self.everybody.setdefault(bin_index, Bin()).add(seen)
            if face.face.track_id is not None:
                person = self._persons.setdefault(face.face.track_id, PersonTimeline())
                person.add(
                    face,
                    seen,
                    pts_seconds=event.pts_seconds,
                    bin_index=bin_index,
                    max_gap_seconds=max_gap_seconds,
                )

    def intervals(self, bins: Mapping[int, Bin]) -> list[Interval]:
        """Bins in order of time, each until the next one in which there is a frame: a bin may be shorter than a frame.

        Args:
            bins: of a person, or of everybody.
        """
        with_frames = sorted(self.frames)
        following = dict(pairwise(with_frames))
        found = []
        for index in sorted(bins):
            last = index + 1
            if (following.get(index, last) - index) * self.bin_seconds <= self._some_frames_seconds:
                last = following.get(index, last)
            start, end = (self.start_seconds + each * self.bin_seconds for each in (index, last))
            found.append(Interval(start, end, bins[index]))
        return found

    @property
    def _some_frames_seconds(self) -> float:
        """How long a few frames of this source last."""
        num_frames = self.frames.total()
        mean = (self.end_seconds - self.start_seconds) / (num_frames - 1) if num_frames > 1 else 0.0
        return _MAX_GAP_FRAMES * mean

    def _bin_of(self, pts_seconds: float) -> int:
        return int((pts_seconds - self.start_seconds) / self.bin_seconds)
