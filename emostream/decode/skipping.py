"""Pictures of a file that need not be decoded, because they are not kept and no other picture is made from them."""

from __future__ import annotations

import math
from bisect import bisect_left, insort

from emostream.decode.sampling import EARLY_RATIO

# Stamps below the newest picture's that are remembered: more than any decoder holds back.
_MAX_REMEMBERED = 64


class UnwantedPictures:
    """Foresees which pictures a `FrameSampler` will not keep, from the stamps of packets in the order of decoding.

    A picture that no other one is made from comes out of the decoder at once: all pictures that are shown before it
    were read before it. So its place among the pictures is known, and whether it will be kept. What is foreseen of
    other pictures may be wrong, but these are decoded in any case. Once a picture has another place than its packet
    (some were damaged), nothing is foreseen any more.

    Args:
        every: as for `FrameSampler`.
        target_fps: as for `FrameSampler`.
        time_base: seconds per unit of the stamps.

    >>> unwanted = UnwantedPictures(every=3)
    >>> [unwanted.add(stamp) for stamp in (0, 3, 1, 2)]
    [False, True, True, True]
    >>> unwanted.passed(0), unwanted.passed(3), unwanted.rest()
    ([], [1, 2], [])
    """

    def __init__(self, *, every: int = 1, target_fps: float | None = None, time_base: float = 1.0) -> None:
        self._time_base = time_base
        self._every = every
        self._target_fps = target_fps
        self._stamps: list[int] = []  # of packets read, sorted; old ones are forgotten
        self._num_forgotten = 0
        self._unwanted: list[int] = []  # of pictures that may not come, sorted
        self._is_sure = True
        self._offset_seconds = 0.0  # from stamps to the source's time

    def add(self, stamp: int) -> bool:
        """Whether the picture of the next packet is not wanted."""
        place = bisect_left(self._stamps, stamp)
        is_unwanted = self._is_sure and self._is_unwanted(place, stamp)
        self._stamps.insert(place, stamp)
        if is_unwanted:
            insort(self._unwanted, stamp)
        if len(self._stamps) > _MAX_REMEMBERED:
            del self._stamps[0]
            self._num_forgotten += 1
        return is_unwanted

    def passed(self, stamp: int) -> list[int]:
        """The stamps of pictures that were not decoded and are shown before this one, which was."""
        place = bisect_left(self._unwanted, stamp)
        passed = self._unwanted[:place]
        is_decoded = place < len(self._unwanted) and self._unwanted[place] == stamp
        del self._unwanted[: place + is_decoded]
        return passed

    def rest(self) -> list[int]:
        """The stamps of pictures at the end that were not decoded."""
        rest, self._unwanted = self._unwanted, []
        return rest

    def is_at(self, stamp: int, pts_seconds: float, *, index: int) -> None:
        """Tell the time of a decoded picture in the source, and its place among all."""
        self._offset_seconds = pts_seconds - stamp * self._time_base
        place = self._num_forgotten + bisect_left(self._stamps, stamp)
        self._is_sure = self._is_sure and place == index

    def _is_unwanted(self, place: int, stamp: int) -> bool:
        if (self._num_forgotten + place) % self._every:
            return True
        if self._target_fps is None or self._every > 1 or place == 0:
            return False
        return self._slot(self._stamps[place - 1]) == self._slot(stamp)

    def _slot(self, stamp: int) -> int:
        assert self._target_fps is not None  # noqa: S101  # for the type checker
        return math.floor((stamp * self._time_base + self._offset_seconds) * self._target_fps + EARLY_RATIO)
