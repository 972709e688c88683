"""Draws the charts of a report: emotions per person over time, and of everybody.

Colours are those of emostream/render/palette.py. Every block also names its emotion as text, inside where it fits and
as a tooltip; the page contains the same values as a table. Each chart is drawn twice, for wide pages and for narrow
ones, whose style sheet shows one of them: shrunk to a phone, the text of one drawing could not be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from emostream.render.palette import DARK_INK, colour_of, hex_of, ink_on
from emostream.render.report.timeline import Bin, Interval
from emostream.render.svg import Svg

_LANE, _AXIS = 22, 24
_LEVEL_LANE = 30
_AREA_HEIGHT = 104
_ROUNDING_SECONDS = 1e-6
_LETTER = 6.4  # width of a letter of the charts' text
_TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)


class Drawing(NamedTuple):
    """A chart for a wide page, and for a narrow one."""

    wide: Markup
    narrow: Markup


@dataclass(frozen=True, slots=True)
class _Width:
    """The measures of a drawing in pixels; text has its own size where the drawing is shown at this width."""

    full: int
    left: int
    right: int
    max_ticks: int


_WIDE, _NARROW = _Width(860, 54, 12, 9), _Width(344, 40, 14, 5)
_WIDE_LANE, _NARROW_LANE = _Width(680, 12, 14, 9), _Width(344, 12, 14, 5)  # the face and the name stand beside it


@dataclass(frozen=True, slots=True)
class Block:
    """An interval with one dominant emotion."""

    start_seconds: float
    end_seconds: float
    emotion: str


@dataclass(frozen=True, slots=True)
class Level:
    """An interval with a height, 0…1, and what a tooltip says of it."""

    start_seconds: float
    end_seconds: float
    height: float
    tip: str

    def at(self, height: float, tip: str) -> Level:
        """The same interval with another height."""
        return Level(self.start_seconds, self.end_seconds, height, tip)


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The time span of a chart in seconds."""

    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class _Scale:
    """Times of an axis in the coordinates of a drawing."""

    axis: TimeAxis
    width: _Width

    def x(self, seconds: float) -> float:
        """The x coordinate of a time."""
        length = max(self.axis.end_seconds - self.axis.start_seconds, 1e-9)
        inside = self.width.full - self.width.left - self.width.right
        return self.width.left + inside * (seconds - self.axis.start_seconds) / length

    def ticks(self) -> list[float]:
        """Round times for tick marks, as many as fit."""
        length, most = self.axis.end_seconds - self.axis.start_seconds, self.width.max_ticks
        step = next((step for step in _TICK_STEPS if length / step < most), _TICK_STEPS[-1])
        step *= max(math.ceil(length / step / most), 1)
        first = math.ceil(self.axis.start_seconds / step)
        return [step * number for number in range(first, math.floor(self.axis.end_seconds / step + 1e-6) + 1)]


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


def lane_chart(blocks: Sequence[Block], axis: TimeAxis, *, labels: Sequence[str], title: str) -> Drawing:
    """The lane of one person, coloured by the dominant emotion."""

    def draw(width: _Width) -> Markup:
        svg, scale = Svg(width.full, _LANE, title=title), _Scale(axis, width)
        for seconds in scale.ticks():
            svg.add("line", css="grid", x1=scale.x(seconds), x2=scale.x(seconds), y1=0, y2=_LANE)
        for block in blocks:
            left, right = scale.x(block.start_seconds), scale.x(block.end_seconds)
            _add_block(svg, left, right, 1, height=_LANE - 2, emotion=block.emotion, labels=labels)
        return svg.markup()

    return Drawing(draw(_WIDE_LANE), draw(_NARROW_LANE))


def level_chart(levels: Sequence[Level], axis: TimeAxis, *, css: str, title: str, has_curve: bool) -> Drawing:
    """A lane with a height that changes over time, and gaps where there is none.

    Args:
        levels: in order of time.
        axis: times from its start to its end are shown.
        css: class of the lane.
        title: read by screen readers.
        has_curve: joins the middles of neighbours; else each is a bar.
    """

    def draw(width: _Width) -> Markup:
        svg, scale = Svg(width.full, _LEVEL_LANE, title=title), _Scale(axis, width)
        for seconds in scale.ticks():
            svg.add("line", css="grid", x1=scale.x(seconds), x2=scale.x(seconds), y1=0, y2=_LEVEL_LANE)
        svg.add(
            "line",
            css="grid",
            x1=scale.x(axis.start_seconds),
            x2=scale.x(axis.end_seconds),
            y1=_LEVEL_LANE - 0.5,
            y2=_LEVEL_LANE - 0.5,
        )
        for run in _neighbours(levels) if has_curve else ():
            corners = [(run[0].start_seconds, run[0].height)]
            corners += [((each.start_seconds + each.end_seconds) / 2, each.height) for each in run]
            corners.append((run[-1].end_seconds, run[-1].height))
            corners = [(corners[0][0], 0.0), *corners, (corners[-1][0], 0.0)]
            points = " ".join(f"{scale.x(seconds):.1f},{_level_y(height):.1f}" for seconds, height in corners)
            svg.add("polygon", css=f"level {css}", points=points)
        for each in levels:
            left, right, top = scale.x(each.start_seconds), scale.x(each.end_seconds), _level_y(each.height)
            css_of_bar = "hover" if has_curve else f"level {css}"
            top = 0 if has_curve else top
            svg.add("rect", css=css_of_bar, tip=each.tip, x=left, y=top, width=right - left, height=_LEVEL_LANE - top)
        return svg.markup()

    return Drawing(draw(_WIDE_LANE), draw(_NARROW_LANE))


def _level_y(height: float) -> float:
    return 1 + (_LEVEL_LANE - 1) * (1 - min(max(height, 0.0), 1.0))


def _neighbours(levels: Sequence[Level]) -> list[list[Level]]:
    """Group levels that follow one another without a gap."""
    runs: list[list[Level]] = []
    for each in levels:
        if runs and each.start_seconds <= runs[-1][-1].end_seconds + _ROUNDING_SECONDS:
            runs[-1].append(each)
        else:
            runs.append([each])
    return runs


def lanes_axis(axis: TimeAxis) -> Drawing:
    """The times under the lanes."""

    def draw(width: _Width) -> Markup:
        svg = Svg(width.full, _AXIS, title="Time")
        _add_time_grid(svg, _Scale(axis, width), bottom=0)
        return svg.markup()

    return Drawing(draw(_WIDE_LANE), draw(_NARROW_LANE))


def area_chart(
    intervals: Sequence[Interval],
    share_of: Callable[[Bin, str], float],
    *,
    axis: TimeAxis,
    labels: Sequence[str],
    title: str,
) -> Drawing:
    """Shares over time, stacked in the order of the labels; gaps where no face is.

    Args:
        intervals: values, in order of time.
        share_of: the share of an emotion in a bin; those of all labels sum to 1.
        axis: times from its start to its end are shown.
        labels: the emotions.
        title: read by screen readers.
    """

    def draw(width: _Width) -> Markup:
        svg, scale = Svg(width.full, _AREA_HEIGHT + _AXIS, title=title), _Scale(axis, width)
        _add_time_grid(svg, scale, bottom=_AREA_HEIGHT)
        for share in (0, 0.5, 1):
            y = _AREA_HEIGHT * (1 - share) + (8 if share == 1 else 3)
            svg.add("text", css="tick", text=f"{share:.0%}", x=width.left - 8, y=y, text_anchor="end")
        for run in _runs(intervals):
            # Areas extend to the borders of their intervals, so that short appearances are visible.
            last = min(run[-1].end_seconds, axis.end_seconds)
            times = [min((each.start_seconds + each.end_seconds) / 2, last) for each in run]
            edges = [run[0].start_seconds, *times, last]
            lower = [0.0] * len(edges)
            for label in labels:
                shares = [share_of(each.values, label) for each in run]
                upper = [low + share for low, share in zip(lower, [shares[0], *shares, shares[-1]], strict=True)]
                if any(shares):
                    points = f"{_points(edges, upper, scale)} {_points(edges[::-1], lower[::-1], scale)}"
                    svg.add("polygon", css="area", tip=label, points=points, fill=hex_of(colour_of(label, labels)))
                lower = upper
        return svg.markup()

    return Drawing(draw(_WIDE), draw(_NARROW))


def share_bar(shares: Mapping[str, float], *, labels: Sequence[str], title: str) -> Drawing:
    """Shares of a whole, side by side."""

    def draw(width: _Width) -> Markup:
        svg, start = Svg(width.full, 22, title=title), 0.0
        for emotion, share in shares.items():
            end = start + share
            text = f"{emotion} {share:.0%}"
            _add_block(
                svg, start * width.full, end * width.full, 1, height=20, emotion=emotion, labels=labels, text=text
            )
            start = end
        return svg.markup()

    return Drawing(draw(_WIDE), draw(_NARROW))


def _add_block(
    svg: Svg,
    left: float,
    right: float,
    top: float,
    *,
    height: float,
    emotion: str,
    labels: Sequence[str],
    text: str = "",
) -> None:
    width = max(right - left, 1.5)
    name = text or emotion
    colour = colour_of(emotion, labels)
    svg.add("rect", css="block", tip=name, x=left, y=top, width=width, height=height, fill=hex_of(colour))
    shown = next((each for each in (name, emotion) if len(each) * _LETTER + 8 < width), "")
    if shown:
        css = "on-light" if ink_on(colour) == DARK_INK else "on-dark"
        svg.add("text", css=css, text=shown, x=left + width / 2, y=top + height / 2 + 4, text_anchor="middle")


def _points(times: Sequence[float], shares: Sequence[float], scale: _Scale) -> str:
    pairs = zip(times, shares, strict=True)
    return " ".join(f"{scale.x(time):.1f},{_AREA_HEIGHT * (1 - share):.1f}" for time, share in pairs)


def _runs(intervals: Sequence[Interval]) -> list[list[Interval]]:
    """Group intervals that follow one another without a gap."""
    runs: list[list[Interval]] = []
    for each in intervals:
        if runs and each.start_seconds <= runs[-1][-1].end_seconds:
            runs[-1].append(each)
        else:
            runs.append([each])
    return runs


def _add_time_grid(svg: Svg, scale: _Scale, *, bottom: float) -> None:
    for seconds in scale.ticks():
        x = scale.x(seconds)
        svg.add("line", css="grid", x1=x, x2=x, y1=0, y2=bottom + 4)
        text = f"{seconds:g} s" if seconds < 60 else time_text(seconds)
        svg.add("text", css="tick", text=text, x=x, y=bottom + 17, text_anchor="middle")
