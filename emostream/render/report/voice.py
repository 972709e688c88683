"""The voice in a report: lanes under those of the faces, and one table of faces and voice together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from emostream.domain.voice import VoiceEvent, VoiceWindow
from emostream.render.report.charts import Drawing, Level, TimeAxis, level_chart, time_text
from emostream.render.report.timeline import MAX_BINS

_FIRST_BIN_SECONDS = 0.5  # how far windows are apart
_QUIETEST_LUFS = -60.0


@dataclass(slots=True)
class VoiceBin:
    """The windows of one interval, added up."""

    num_windows: int = 0
    speech: float = 0.0
    power: float = 0.0
    num_with_arousal: int = 0
    arousal: float = 0.0
    num_silent: int = 0
    num_clipped: int = 0

    def add_window(self, window: VoiceWindow) -> None:
        """Add one window."""
        self.num_windows += 1
        self.speech += window.speech_share
        if window.loudness_lufs is not None:
            self.power += 10 ** (window.loudness_lufs / 10)
        if window.arousal is not None:
            self.num_with_arousal += 1
            self.arousal += window.arousal
        self.num_silent += "silent" in window.quality
        self.num_clipped += "clipped" in window.quality

    def add(self, other: VoiceBin) -> None:
        """Add the windows of another interval."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def speech_share(self) -> float:
        """Share of the time in which someone speaks, 0…1."""
        return self.speech / self.num_windows if self.num_windows else 0.0

    @property
    def loudness_lufs(self) -> float | None:
        """That of the mean power; None in silence."""
        return 10 * math.log10(self.power / self.num_windows) if self.power else None

    @property
    def mean_arousal(self) -> float | None:
        """Mean over the windows that have one; None where none has."""
        return self.arousal / self.num_with_arousal if self.num_with_arousal else None


class VoiceTimeline:
    """The voice of one run over time, in bounded memory.

    Attributes:
        bin_seconds: length of a bin.
        bins: bin index → values.
        models: names and versions of the models of the arousal.
    """

    def __init__(self) -> None:
        self.bin_seconds = _FIRST_BIN_SECONDS
        self.bins: dict[int, VoiceBin] = {}
        self.models: dict[str, None] = {}

    def add(self, event: VoiceEvent) -> None:
        """Add the next window; of a second that overlaps others it stands for the middle."""
        self.models[f"{event.model_name} {event.model_version}"] = None
        middle = (event.window.started_pts_seconds + event.window.ended_pts_seconds) / 2
        while (index := self._bin_of(middle)) >= MAX_BINS:
            self.bin_seconds *= 2
            merged: dict[int, VoiceBin] = {}
            for number, one in self.bins.items():
                merged.setdefault(number // 2, VoiceBin()).add(one)
            self.bins = merged
        self.bins.setdefault(index, VoiceBin()).add_window(event.window)

    def between(self, start_seconds: float, end_seconds: float) -> VoiceBin:
        """The bins whose middle lies in an interval, added up; of a short interval, the bin that is nearest to it."""
        total, nearest = VoiceBin(), (self.bin_seconds, VoiceBin())
        for index, one in self.bins.items():
            middle = sum(self._times_of(index)) / 2
            if start_seconds <= middle < end_seconds:
                total.add(one)
            nearest = min(nearest, (abs(middle - (start_seconds + end_seconds) / 2), one), key=lambda item: item[0])
        return total if total.num_windows else nearest[1]

    def levels(self, axis: TimeAxis) -> list[tuple[Level, VoiceBin]]:
        """Intervals within the axis, of no height yet, in order of time."""
        found = []
        for index in sorted(self.bins):
            begin, end = self._times_of(index)
            begin, end = max(begin, axis.start_seconds), min(end, axis.end_seconds)
            if begin < end:
                found.append((Level(begin, end, 0.0, ""), self.bins[index]))
        return found

    def _bin_of(self, middle_seconds: float) -> int:
        return max(0, int((middle_seconds - _FIRST_BIN_SECONDS / 2) / self.bin_seconds))

    def _times_of(self, index: int) -> tuple[float, float]:
        start = _FIRST_BIN_SECONDS / 2 + index * self.bin_seconds
        return start, start + self.bin_seconds


@dataclass(frozen=True, slots=True)
class VoiceLane:
    """A row under those of the faces."""

    name: str
    note: str
    drawing: Drawing


def voice_lanes(voice: VoiceTimeline, axis: TimeAxis) -> list[VoiceLane]:
    """Speech, loudness and arousal over time; none where no sound was measured."""
    levels = voice.levels(axis)
    total = voice.between(-math.inf, math.inf)
    speech, loudness, arousal = [], [], []
    for level, one in levels:
        speech.append(level.at(one.speech_share, f"speech {one.speech_share:.0%}"))
        if one.loudness_lufs is not None:
            loudness.append(level.at(1 - one.loudness_lufs / _QUIETEST_LUFS, loudness_text(one)))
        if one.mean_arousal is not None:
            arousal.append(level.at(one.mean_arousal, f"arousal {one.mean_arousal:.0%}"))
    lanes = [
        ("speech", f"{total.speech_share:.0%} of the time", speech, "Speech over time"),
        ("loudness", loudness_text(total), loudness, "Loudness over time"),
        ("arousal", arousal_text(total), arousal, "Arousal of the voice over time"),
    ]
    return [
        VoiceLane(name, note, level_chart(shown, axis, css=name, title=title, has_curve=name != "speech"))
        for name, note, shown, title in lanes
        if levels
    ]


def voice_notes(voice: VoiceTimeline) -> list[str]:
    """What makes the measurements less certain."""
    total = voice.between(-math.inf, math.inf)
    return [
        f"The sound is {what} in {count / total.num_windows:.0%} of the time."
        for what, count in (("silent", total.num_silent), ("clipped", total.num_clipped))
        if count
    ]


def voice_cells(one: VoiceBin) -> list[str]:
    """Speech, loudness and arousal of an interval, as cells of a table."""
    if not one.num_windows:
        return ["–", "–", "–"]
    return [f"{one.speech_share:.0%}", loudness_text(one), arousal_text(one)]


def interval_rows(
    intervals: Sequence[tuple[float, float, Sequence[Sequence[str]]]], voice: VoiceTimeline
) -> list[list[str]]:
    """One row per interval and face, with the voice of the interval.

    Args:
        intervals: from, to, and the cells of the faces that were seen in it.
        voice: of the run.
    """
    rows = []
    for start, end, faces in intervals:
        cells = voice_cells(voice.between(start, end))
        rows += [[time_text(start), time_text(end), *face, *cells] for face in faces]
    return rows


def loudness_text(one: VoiceBin) -> str:
    """For people.

    >>> loudness_text(VoiceBin(num_windows=1, power=0.01))
    '−20 LUFS'
    """
    loudness = one.loudness_lufs
    return "silent" if loudness is None else f"{loudness:.0f} LUFS".replace("-", "−")


def arousal_text(one: VoiceBin) -> str:
    """For people; a dash where too little is said."""
    return "–" if one.mean_arousal is None else f"{one.mean_arousal:.0%}"
