"""Pure: charts as SVG text, without a plotting library: small, sharp on paper, and allowed by a strict content policy.

Colours are those of emostream/render/palette.py. Every block also says its emotion as text: in itself where there is room, and
as a title; the page shows the same figures as a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from emostream.render.palette import DARK_INK, colour_of, hex_of, ink_on
from emostream.render.report.timeline import Bin

_WIDTH = 860
_LEFT, _RIGHT = 54, 12
_LANE, _LANE_GAP, _AXIS = 22, 8, 24
_AREA_HEIGHT = 104
_LETTER = 6.4  # width of a letter of the charts' text
_TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)
_MAX_TICKS = 9


@dataclass(frozen=True, slots=True)
class Block:
    """A time with one emotion."""

    start_seconds: float
    end_seconds: float
    emotion: str


@dataclass(frozen=True, slots=True)
class Lane:
    """What one person showed."""

    label: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """From which time to which a chart reaches, in seconds."""

    start_seconds: float
    end_seconds: float

    def x(self, seconds: float) -> float:
        """Where a time lies in a chart."""
        length = max(self.end_seconds - self.start_seconds, 1e-9)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (seconds - self.start_seconds) / length

    def ticks(self) -> list[float]:
        """Round times, at most nine of them."""
        length = self.end_seconds - self.start_seconds
        step = next((step for step in _TICK_STEPS if length / step < _MAX_TICKS), _TICK_STEPS[-1])
        step *= max(math.ceil(length / step / _MAX_TICKS), 1)
        first = math.ceil(self.start_seconds / step)
        return [step * number for number in range(first, math.floor(self.end_seconds / step + 1e-6) + 1)]


def time_text(seconds: float) -> str:
    """A time as people write it.

    >>> time_text(4.26), time_text(83), time_text(3723.4)
    ('4.3 s', '1:23', '1:02:03')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def lanes_chart(lanes: Sequence[Lane], axis: TimeAxis, *, title: str) -> str:
    """One lane per person, coloured by the dominant emotion."""
    height = len(lanes) * (_LANE + _LANE_GAP) + _AXIS
    parts = _time_grid(axis, bottom=height - _AXIS)
    for number, lane in enumerate(lanes):
        top = number * (_LANE + _LANE_GAP) + _LANE_GAP / 2
        parts.append(
            f'<text class="label" x="{_LEFT - 8}" y="{top + 15:.1f}" text-anchor="end">{escape(lane.label)}</text>'
        )
        for block in lane.blocks:
            parts += _block(axis.x(block.start_seconds), axis.x(block.end_seconds), top, _LANE, block.emotion)
    return _svg(parts, height=height, title=title)


def area_chart(
    bins: Mapping[int, Bin], *, bin_seconds: float, axis: TimeAxis, labels: Sequence[str], title: str
) -> str:
    """The mean probabilities over time, stacked in the order of the labels; where the face is away there is a gap."""
    parts = _time_grid(axis, bottom=_AREA_HEIGHT)
    for share in (0, 0.5, 1):
        y = _AREA_HEIGHT * (1 - share)
        y += 8 if share == 1 else 3
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y:.1f}" text-anchor="end">{share:.0%}</text>')
    for run in _runs(sorted(bins)):
        times = [axis.start_seconds + (index + 0.5) * bin_seconds for index in run]
        # A bin reaches to its borders, so that a face that is seen shortly is seen in the chart as well.
        edges = [times[0] - bin_seconds / 2, *times, min(times[-1] + bin_seconds / 2, axis.end_seconds)]
        lower = [0.0] * len(edges)
        for label in labels:
            means = [bins[index].mean_of(label) for index in run]
            upper = [low + mean for low, mean in zip(lower, [means[0], *means, means[-1]], strict=True)]
            parts.append(_area(edges, lower, upper, axis, label))
            lower = upper
    return _svg(parts, height=_AREA_HEIGHT + _AXIS, title=title)


def share_bar(shares: Mapping[str, float], *, title: str) -> str:
    """Shares of one whole, side by side."""
    parts, start = [], 0.0
    for emotion, share in shares.items():
        parts += _block(start * _WIDTH, (start + share) * _WIDTH, 1, 20, emotion, text=f"{emotion} {share:.0%}")
        start += share
    return _svg(parts, height=22, title=title)


def _block(left: float, right: float, top: float, height: float, emotion: str, *, text: str = "") -> list[str]:
    width = max(right - left, 1.5)
    name = text or emotion
    colour = colour_of(emotion)
    parts = [
        f'<rect class="block" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height}" '
        f'fill="{hex_of(colour)}"><title>{escape(name)}</title></rect>'
    ]
    shown = next((each for each in (name, emotion) if len(each) * _LETTER + 8 < width), "")
    if shown:
        css = "on-light" if ink_on(colour) == DARK_INK else "on-dark"
        parts.append(
            f'<text class="{css}" x="{left + width / 2:.1f}" y="{top + height / 2 + 4:.1f}" '
            f'text-anchor="middle">{escape(shown)}</text>'
        )
    return parts


def _area(times: Sequence[float], lower: Sequence[float], upper: Sequence[float], axis: TimeAxis, label: str) -> str:
    above = [f"{axis.x(time):.1f},{_AREA_HEIGHT * (1 - value):.1f}" for time, value in zip(times, upper, strict=True)]
    below = [f"{axis.x(time):.1f},{_AREA_HEIGHT * (1 - value):.1f}" for time, value in zip(times, lower, strict=True)]
    points = " ".join([*above, *reversed(below)])
    colour = hex_of(colour_of(label))
    return f'<polygon class="area" points="{points}" fill="{colour}"><title>{escape(label)}</title></polygon>'


def _runs(indexes: Sequence[int]) -> list[list[int]]:
    """Neighbouring numbers together.

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


def _time_grid(axis: TimeAxis, *, bottom: float) -> list[str]:
    parts = []
    for seconds in axis.ticks():
        x = axis.x(seconds)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom + 4:.1f}"/>')
        text = f"{seconds:g} s" if seconds < 60 else time_text(seconds)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 17:.1f}" text-anchor="middle">{text}</text>')
    return parts


def _svg(parts: Sequence[str], *, height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
