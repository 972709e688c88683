"""Pictures of a file that need not be decoded, because they are not kept and none that is kept needs them."""

from __future__ import annotations

import math
from bisect import bisect_left, insort

from emostream.decode.sampling import EARLY_RATIO

# Stamps below the newest picture's that are remembered: more than any decoder holds back.
_MAX_REMEMBERED = 64


class _NotDecoded:
    """The stamps of pictures that may not come out of the decoder."""

    def __init__(self) -> None:
        self._unwanted: list[int] = []  # sorted

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


class KeyFrames(_NotDecoded):
    """Finds which pictures are key frames, and which pictures are shown before each, from packets in decoding order.

    >>> key_frames = KeyFrames()
    >>> for stamp, is_key in ((0, True), (1, False), (4, True), (2, False), (3, False)):
    ...     key_frames.add(stamp, is_key=is_key)
    >>> key_frames.is_key(4), key_frames.is_key(3), key_frames.passed(0), key_frames.passed(4)
    (True, False, [], [1, 2, 3])
    """

    def __init__(self) -> None:
        super().__init__()
        self._first_stamp: float | None = None
        self._stamps: set[int] = set()  # of key frames that were not passed yet

    def add(self, stamp: int, *, is_key: bool) -> None:
        """Tell when the picture of the next packet is shown, and whether the container says that it is a key frame."""
        if self._first_stamp is None:
            self._first_stamp = stamp if is_key else -math.inf  # an edit list left out what it is made from
        if is_key:
            self._stamps.add(stamp)
        elif stamp > self._first_stamp:  # those before it lack what they are made from, and are never shown
            insort(self._unwanted, stamp)

    def is_key(self, stamp: int | None) -> bool:
        """Whether a picture that was decoded is a key frame that was not passed yet."""
        return stamp in self._stamps

    def passed(self, stamp: int) -> list[int]:
        """The stamps of pictures that are shown before this key frame; some of them are read after it."""
        self._stamps.discard(stamp)
        return super().passed(stamp)


class UnwantedPictures(_NotDecoded):
    """Foresees which pictures a `FrameSampler` will not keep, from the stamps of packets in the order of decoding.

    A picture that no other one is made from comes out of the decoder at once: all pictures that are shown before it
    were read before it. So its place among the pictures is known, and whether it will be kept. What is foreseen of
    other pictures may be wrong, but these are decoded in any case. Once a picture has another place than its packet
    (some were damaged), nothing is foreseen any more.

    Args:
        every: as for `FrameSampler`.
        target_fps: as for `FrameSampler`.
        time_base: seconds per unit of the stamps.
        start_seconds: the stamp of time 0.

    >>> unwanted = UnwantedPictures(every=3)
    >>> [unwanted.add(stamp) for stamp in (0, 3, 1, 2)]
    [False, True, True, True]
    >>> unwanted.passed(0), unwanted.passed(3), unwanted.rest()
    ([], [1, 2], [])
    """

    def __init__(
        self, *, every: int = 1, target_fps: float | None = None, time_base: float = 1.0, start_seconds: float = 0.0
    ) -> None:
        super().__init__()
        self._time_base = time_base
        self._every = every
        self._target_fps = target_fps
        self._stamps: list[int] = []  # of packets read, sorted; old ones are forgotten
        self._num_forgotten = 0
        self._is_sure = True
        self._offset_seconds = -start_seconds  # from stamps to the source's time

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
