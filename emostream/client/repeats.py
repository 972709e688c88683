"""Pure: tells an event that was seen before from a new one."""

from __future__ import annotations

from emostream.event import EmotionEvent


class RepeatFilter:
    """Remembers the last event per stream.

    A consumer that crashed between its work and its acknowledgement is given the same events again. Within a stream
    (epoch, frame_index) grows, so the last one tells. Keep `last` beside the results, in the same transaction, and
    every event counts exactly once.

    Args:
        last: stream id → (epoch, frame_index) that was done last.
    """

    def __init__(self, last: dict[str, tuple[int, int]] | None = None) -> None:
        self.last = {} if last is None else last

    def is_new(self, event: EmotionEvent) -> bool:
        """Whether the event comes after the last one of its stream; if so, it is the last one now."""
        place = (event.epoch, event.frame_index)
        if place <= self.last.get(event.stream_id, (-1, -1)):
            return False
        self.last[event.stream_id] = place
        return True
