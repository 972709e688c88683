"""Draws the charts of a report: emotions per person over time.

Colours are those of emostream/render/palette.py. Every block also names its emotion as text, inside where it fits and
as a tooltip; the page contains the same values as a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from emostream.render.palette import DARK_INK, colour_of, hex_of, ink_on
from emostream.render.report.timeline import Bin
from emostream.render.svg import Svg

_WIDTH = 860
_LEFT, _RIGHT = 54, 12
_LANE, _LANE_GAP, _AXIS = 22, 8, 24
_AREA_HEIGHT = 104
_LETTER = 6.4  # width of a letter of the charts' text
_TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)
_MAX_TICKS = 9


@dataclass(frozen=True, slots=True)
class Block:
    """An interval with one dominant emotion."""

    start_seconds: float
    end_seconds: float
    emotion: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The intervals of one person."""

    label: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The time span of a chart in seconds."""

    start_seconds: float
    end_seconds: float

    def x(self, seconds: float) -> float:
        """The x coordinate of a time."""
        length = max(self.end_seconds - self.start_seconds, 1e-9)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (seconds - self.start_seconds) / length

    def ticks(self) -> list[float]:
        """Round times for tick marks, at most nine."""
        length = self.end_seconds - self.start_seconds
        step = next((step for step in _TICK_STEPS if length / step < _MAX_TICKS), _TICK_STEPS[-1])
        step *= max(math.ceil(length / step / _MAX_TICKS), 1)
        first = math.ceil(self.start_seconds / step)
        return [step * number for number in range(first, math.floor(self.end_seconds / step + 1e-6) + 1)]


def time_text(seconds: float) -> str:
    """A time formatted for people.

    >>> time_text(4.26), time_text(83), time_text(3723.4)
    ('4.3 s', '1:23', '1:02:03')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def lanes_chart(lanes: Sequence[Lane], axis: TimeAxis, *, title: str) -> Markup:
    """One lane per person, coloured by the dominant emotion."""
    height = len(lanes) * (_LANE + _LANE_GAP) + _AXIS
    svg = Svg(_WIDTH, height, title=title)
    _add_time_grid(svg, axis, bottom=height - _AXIS)
    for number, lane in enumerate(lanes):
        top = number * (_LANE + _LANE_GAP) + _LANE_GAP / 2
        svg.add("text", css="label", text=lane.label, x=_LEFT - 8, y=top + 15, text_anchor="end")
        for block in lane.blocks:
            left, right = axis.x(block.start_seconds), axis.x(block.end_seconds)
            _add_block(svg, left, right, top, height=_LANE, emotion=block.emotion)
    return svg.markup()


def area_chart(
    bins: Mapping[int, Bin], *, bin_seconds: float, axis: TimeAxis, labels: Sequence[str], title: str
) -> Markup:
    """Mean probabilities over time, stacked in the order of the labels; gaps where the face is absent."""
    svg = Svg(_WIDTH, _AREA_HEIGHT + _AXIS, title=title)
    _add_time_grid(svg, axis, bottom=_AREA_HEIGHT)
    for share in (0, 0.5, 1):
        y = _AREA_HEIGHT * (1 - share) + (8 if share == 1 else 3)
        svg.add("text", css="tick", text=f"{share:.0%}", x=_LEFT - 8, y=y, text_anchor="end")
    for run in _runs(sorted(bins)):
        times = [axis.start_seconds + (index + 0.5) * bin_seconds for index in run]
        # Areas extend to the borders of their bins, so that short appearances are visible.
        edges = [times[0] - bin_seconds / 2, *times, min(times[-1] + bin_seconds / 2, axis.end_seconds)]
        lower = [0.0] * len(edges)
        for label in labels:
            means = [bins[index].mean_of(label) for index in run]
            upper = [low + mean for low, mean in zip(lower, [means[0], *means, means[-1]], strict=True)]
            points = f"{_points(edges, upper, axis)} {_points(edges[::-1], lower[::-1], axis)}"
            svg.add("polygon", css="area", tip=label, points=points, fill=hex_of(colour_of(label)))
            lower = upper
    return svg.markup()


def share_bar(shares: Mapping[str, float], *, title: str) -> Markup:
    """Shares of a whole, side by side."""
    svg, start = Svg(_WIDTH, 22, title=title), 0.0
    for emotion, share in shares.items():
        end = start + share
        text = f"{emotion} {share:.0%}"
        _add_block(svg, start * _WIDTH, end * _WIDTH, 1, height=20, emotion=emotion, text=text)
        start = end
    return svg.markup()


def _add_block(svg: Svg, left: float, right: float, top: float, *, height: float, emotion: str, text: str = "") -> None:
    width = max(right - left, 1.5)
    name = text or emotion
    colour = colour_of(emotion)
    svg.add("rect", css="block", tip=name, x=left, y=top, width=width, height=height, fill=hex_of(colour))
    shown = next((each for each in (name, emotion) if len(each) * _LETTER + 8 < width), "")
    if shown:
        css = "on-light" if ink_on(colour) == DARK_INK else "on-dark"
        svg.add("text", css=css, text=shown, x=left + width / 2, y=top + height / 2 + 4, text_anchor="middle")


def _points(times: Sequence[float], shares: Sequence[float], axis: TimeAxis) -> str:
    pairs = zip(times, shares, strict=True)
    return " ".join(f"{axis.x(time):.1f},{_AREA_HEIGHT * (1 - share):.1f}" for time, share in pairs)


def _runs(indexes: Sequence[int]) -> list[list[int]]:
    """Group consecutive numbers.

    >>> _runs([1, 2, 3, 7, 8])
    [[1, 2, 3], [7, 8]]
    """
    runs: list[list[int]] = []
    for index in indexes:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _add_time_grid(svg: Svg, axis: TimeAxis, *, bottom: float) -> None:
    for seconds in axis.ticks():
        x = axis.x(seconds)
        svg.add("line", css="grid", x1=x, x2=x, y1=0, y2=bottom + 4)
        text = f"{seconds:g} s" if seconds < 60 else time_text(seconds)
        svg.add("text", css="tick", text=text, x=x, y=bottom + 17, text_anchor="middle")
