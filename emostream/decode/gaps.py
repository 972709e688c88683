"""How much of a time line is missing, of sources whose parts are skipped without a word.

FFmpeg leaves out segments of an HLS playlist that it cannot open or read. What is seen of that: a gap before a key
frame (a segment begins with one), and less picture than the playlist declares.

Not every gap is a loss. A variable frame rate has pauses as well; most of them are not before a key frame, or there are
many, and once one was seen, no gap counts. A step of the clock (advertisements) is no loss where the playlist's
duration is there without it.
"""

from __future__ import annotations

_MIN_GAP_SECONDS = 0.25
_MIN_GAP_INTERVALS = 4
_MAX_STEP_SECONDS = 60.0  # more is another time line, not a gap
_MAX_GAPS_PER_PICTURE = 0.2  # more of them are a slide show
_DEFAULT_INTERVAL_SECONDS = 1 / 25
# Durations of segments are exact, or rounded to seconds.
_EXACT_SECONDS = 1e-6
_TOLERANCE_SECONDS = 0.4
_TOLERANCE_RATIO = 0.001
_TOLERANCE_RATIO_OF_WHOLE_SECONDS = 0.1


class GapMeter:
    """Gets the packets in the order of their decoding.

    >>> meter = GapMeter()
    >>> seconds = [index / 10 for index in range(30) if index // 10 != 1]  # the second of three seconds is missing
    >>> gaps = [meter.add_picture(at, is_key=at % 1 == 0) for at in seconds]
    >>> round(sum(gaps), 1), round(meter.missing_seconds(declared_seconds=3.001), 1)
    (1.0, 1.0)
    """

    def __init__(self) -> None:
        self.num_pictures = 0
        self.interval_seconds = _DEFAULT_INTERVAL_SECONDS
        """Between two pictures, as far as known."""
        self._covered_seconds = 0.0
        self._gap_seconds = 0.0
        self._num_gaps = 0
        self._has_pauses = False
        self._last: float | None = None
        self._video: tuple[float, float] | None = None  # where the current time line begins and ends
        self._all: tuple[float, float] | None = None  # the same with sound

    @property
    def is_variable(self) -> bool:
        """Whether the rate is variable, so that gaps mean nothing."""
        return self._has_pauses or self._num_gaps > max(1, _MAX_GAPS_PER_PICTURE * self.num_pictures)

    def add_picture(self, at_seconds: float, *, is_key: bool) -> float:
        """Take a packet of the video; returns how many seconds seem to be missing before it."""
        self.num_pictures += 1
        last, self._last = self._last, at_seconds
        step = None if last is None else at_seconds - last
        if step is None or not 0 < step <= _MAX_STEP_SECONDS:
            self._end_time_line()
            self._video = self._all = (at_seconds, at_seconds + self.interval_seconds)
            return 0.0
        gap = 0.0
        if step <= max(_MIN_GAP_SECONDS, _MIN_GAP_INTERVALS * self.interval_seconds):
            self.interval_seconds = step
            self._covered_seconds += step
        elif is_key:
            gap = step - self.interval_seconds
            self._covered_seconds += self.interval_seconds
            self._gap_seconds += gap
            self._num_gaps += 1
        else:
            self._has_pauses = True
            self._covered_seconds += step
        start = at_seconds if self._video is None else self._video[0]
        self._video = (start, at_seconds + self.interval_seconds)
        return 0.0 if self.is_variable else gap

    def add_other(self, at_seconds: float, duration_seconds: float) -> None:
        """Take a packet of another stream: what it covers before and behind the video is there."""
        if self._all is not None:
            start, end = self._all
            if start - _MAX_STEP_SECONDS < at_seconds < end + _MAX_STEP_SECONDS:
                self._all = (min(start, at_seconds), max(end, at_seconds + duration_seconds))

    def missing_seconds(self, *, declared_seconds: float | None) -> float:
        """How much is missing of the whole, at its end; 0 where nothing certainly is."""
        self._end_time_line()
        gap_seconds = 0.0 if self.is_variable else self._gap_seconds
        if declared_seconds is None:
            return gap_seconds
        missing = declared_seconds - self._covered_seconds - (self._gap_seconds - gap_seconds)
        is_rounded = abs(declared_seconds - round(declared_seconds)) < _EXACT_SECONDS
        if gap_seconds and missing > _MIN_GAP_SECONDS:
            return min(gap_seconds, missing) if is_rounded else missing
        ratio = _TOLERANCE_RATIO_OF_WHOLE_SECONDS if is_rounded else _TOLERANCE_RATIO
        return missing if missing > _TOLERANCE_SECONDS + ratio * declared_seconds else 0.0

    def _end_time_line(self) -> None:
        """Count what the last picture covers, and the sound that is longer than the video."""
        if self._video is not None and self._all is not None:
            around = max(0.0, self._video[0] - self._all[0]) + max(0.0, self._all[1] - self._video[1])
            self._covered_seconds += self.interval_seconds + around
        self._video = self._all = None
