"""Pure: events → one summary event per interval of source time."""

from __future__ import annotations

from collections import Counter

from emostream.event import EmotionEvent, SummaryEvent


class RollingSummary:
    """Sums up the events of one run of one stream, interval after interval. Not thread-safe.

    The first interval begins with the first event; an event that is `interval_seconds` or more after the beginning
    closes it and begins the next. Time that runs backwards in the source begins a new one as well. Every event is in
    exactly one summary.

    Args:
        interval_seconds: length in source time; above 0.
    """

    def __init__(self, *, interval_seconds: float) -> None:
        if interval_seconds <= 0:
            raise ValueError(f"expected interval_seconds > 0, got {interval_seconds}")
        self._interval_seconds = interval_seconds
        self._num_summaries = 0
        self._first: EmotionEvent | None = None
        self._last: EmotionEvent | None = None
        self._num_frames = 0
        self._num_dropped = 0
        self._track_ids: set[int | None] = set()
        self._dominant_counts: Counter[str] = Counter()
        self._probability_sums: Counter[str] = Counter()

    def add(self, event: EmotionEvent) -> SummaryEvent | None:
        """Count an event; the summary of the interval before it, when it begins a new one."""
        summary = None
        if self._first is not None and self._last is not None:
            elapsed = event.pts_seconds - self._first.pts_seconds
            if elapsed >= self._interval_seconds or event.pts_seconds < self._last.pts_seconds:
                summary = self.finish()
        if self._first is None:
            self._first = event
        self._last = event
        self._num_frames += 1
        self._num_dropped += event.num_dropped
        for face in event.faces:
            self._track_ids.add(face.face.track_id)
            self._dominant_counts[face.dominant] += 1
            self._probability_sums.update(face.smoothed.as_dict())
        return summary

    def finish(self) -> SummaryEvent | None:
        """The summary of the interval that is open; None when no event came since the last one."""
        if self._first is None or self._last is None:
            return None
        num_faces = self._dominant_counts.total()
        summary = SummaryEvent(
            stream_id=self._first.stream_id,
            epoch=self._first.epoch,
            summary_index=self._num_summaries,
            started_at=self._first.captured_at,
            ended_at=self._last.captured_at,
            started_pts_seconds=self._first.pts_seconds,
            ended_pts_seconds=self._last.pts_seconds,
            num_frames=self._num_frames,
            num_faces=num_faces,
            num_tracks=len(self._track_ids),
            num_dropped=self._num_dropped,
            dominant_counts=dict(self._dominant_counts),
            mean_probabilities={
                label: min(1.0, max(0.0, total / num_faces)) for label, total in self._probability_sums.items()
            },
        )
        self._num_summaries += 1
        self._begin()
        return summary

    def _begin(self) -> None:
        self._first = self._last = None
        self._num_frames = self._num_dropped = 0
        self._track_ids = set()
        self._dominant_counts = Counter()
        self._probability_sums = Counter()
