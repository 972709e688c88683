"""Pure: charts as SVG text, without a plotting library: small, sharp on paper, and in the page's own colours.

Colours are CSS classes (`series-0`, `series-1`, …), so that a page decides about light and dark; dashes tell the series
apart without colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from training.measure.metrics import Reliability

_WIDTH, _HEIGHT = 320, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 22, 12, 38
_GRID_STEP = 0.2
_MIN_PICTURES_OF_A_DOT = 5


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: a value in 0…1 for each of the chart's places."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie in the picture."""

    low: float
    high: float
    num_places: int
    height: int = _HEIGHT

    def x(self, place: float) -> float:
        """Horizontal position of a place, counted from 0."""
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * place / max(self.num_places - 1, 1)

    def y(self, value: float) -> float:
        """Vertical position of a value."""
        share = (value - self.low) / (self.high - self.low)
        return _TOP + (self.height - _TOP - _BOTTOM) * (1 - share)


def line_chart(
    series: Sequence[Series],
    *,
    places: Sequence[str],
    x_label: str,
    low: float = 0.0,
    high: float = 1.0,
    title: str = "",
) -> str:
    """Lines over evenly spaced places; values are shares, shown in percent.

    Args:
        series: each with one value per place.
        places: labels below the axis; "" leaves a place without one.
        x_label: what the places are.
        low, high: ends of the vertical axis, multiples of 0.2.
        title: read by screen readers.
    """
    frame = _Frame(low, high, len(places))
    parts = [*_grid(frame), *_place_labels(frame, places), _axis_title(x_label)]
    for number, one in enumerate(series):
        points = [(frame.x(place), frame.y(value)) for place, value in enumerate(one.values)]
        parts.append(_polyline(points, css=f"line series-{number}"))
        if len(points) <= 10:
            tips = (f"{one.name}: {value:.1%}" for value in one.values)
            parts += [_dot(x, y, css=f"dot series-{number}", tip=tip) for (x, y), tip in zip(points, tips, strict=True)]
    return _svg(parts, title=title or x_label)


def reliability_diagram(after: Reliability, before: Reliability | None, *, title: str) -> str:
    """How often answers of each confidence were true; on the diagonal they are taken at their word.

    The line is the model as it is, the dashed one before its temperature; bars below count the pictures. Places with
    fewer than five pictures say nothing and have no dot.
    """
    frame = _Frame(0.0, 1.0, 2, height=_HEIGHT - 30)
    parts = [*_grid(frame), *_place_labels(frame, ["0 %", "100 %"]), _axis_title("confidence of the answer")]
    parts.append(_polyline([(frame.x(0), frame.y(0)), (frame.x(1), frame.y(1))], css="line ideal"))
    total = sum(part.num_pictures for part in after.bins) or 1
    for part in after.bins:
        height = 26 * part.num_pictures / total * 2
        width = frame.x(part.high) - frame.x(part.low) - 1
        top = _HEIGHT - _BOTTOM - min(height, 26)
        parts.append(
            f'<rect class="bar" x="{frame.x(part.low):.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{min(height, 26):.1f}"><title>{part.num_pictures} pictures</title></rect>'
        )
    for number, diagram in ((1, before), (0, after)):
        if diagram is not None:
            filled = [part for part in diagram.bins if part.num_pictures >= _MIN_PICTURES_OF_A_DOT]
            points = [(frame.x(part.confidence), frame.y(part.truth)) for part in filled]
            parts.append(_polyline(points, css=f"line series-{number}"))
            parts += [
                _dot(
                    x,
                    y,
                    css=f"dot series-{number}",
                    tip=f"{part.num_pictures} pictures: {part.confidence:.0%} sure, {part.truth:.0%} true",
                )
                for (x, y), part in zip(points, filled, strict=True)
            ]
    return _svg(parts, title=title)


def _grid(frame: _Frame) -> list[str]:
    parts = []
    steps = round((frame.high - frame.low) / _GRID_STEP)
    for step in range(steps + 1):
        value = frame.low + _GRID_STEP * step
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{100 * value:.0f}</text>')
    return parts


def _place_labels(frame: _Frame, places: Sequence[str]) -> list[str]:
    y = _HEIGHT - _BOTTOM + 15
    return [
        f'<text class="tick" x="{frame.x(place):.1f}" y="{y}" text-anchor="middle">{escape(label)}</text>'
        for place, label in enumerate(places)
        if label
    ]


def _axis_title(text: str) -> str:
    x = (_LEFT + _WIDTH - _RIGHT) / 2
    return f'<text class="axis" x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(text)}</text>'


def _polyline(points: Sequence[tuple[float, float]], *, css: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{css}" points="{path}"/>'


def _dot(x: float, y: float, *, css: str, tip: str) -> str:
    return f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="2.8"><title>{escape(tip)}</title></circle>'


def _svg(parts: Sequence[str], *, title: str) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{body}</svg>'
