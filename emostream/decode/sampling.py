"""Which pictures of a source to keep."""

from __future__ import annotations

import math

EARLY_RATIO = 0.29
"""A picture may come this part of a period early and still count for the next slot. Time stamps are rounded (Matroska:
to milliseconds), so a source that has exactly the target rate would lose pictures without it. The value is no simple
fraction, so that sources with a multiple of the target rate do not sit on the edge of a slot."""


class FrameSampler:
    """Keeps one of every `every` pictures, and of those at most `target_fps` per second of source time.

    Time is cut into slots of one period each and the first picture in a slot is kept. Slots are counted from zero, not
    from the last picture kept, so the rate does not drift, and no T seconds of source time give more than
    T × `target_fps` + 2 pictures, however irregular the time stamps are. A gap in the source is not made up for.

    >>> sampler = FrameSampler(target_fps=10)
    >>> [index for index in range(10) if sampler.keep(index / 25)]
    [0, 2, 5, 7]
    """

    def __init__(self, *, every: int = 1, target_fps: float | None = None) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        if target_fps is not None and not target_fps > 0:
            raise ValueError(f"target_fps must be greater than 0, got {target_fps}")
        self._every = every
        self._target_fps = target_fps
        self._num_seen = 0
        self._last_slot = -1

    @property
    def keeps_all(self) -> bool:
        """Whether no picture is ever left out."""
        return self._every == 1 and self._target_fps is None

    def skip(self, num_pictures: int) -> None:
        """Count pictures that are not shown to `keep`; called before it."""
        self._num_seen += num_pictures

    def keep(self, pts_seconds: float) -> bool:
        """Whether to keep the next picture. Call once per picture, in order; time stamps must not fall."""
        position = self._num_seen % self._every
        self._num_seen += 1
        if position:
            return False
        if self._target_fps is None:
            return True
        slot = math.floor(pts_seconds * self._target_fps + EARLY_RATIO)
        if slot <= self._last_slot:
            return False
        self._last_slot = slot
        return True
