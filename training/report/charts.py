"""Charts in the page's own colours.

Colours are CSS classes (`series-0`, `series-1`, …), so that a page decides about light and dark; dashes tell the series
apart without colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from emostream.render.svg import Svg
from training.measure.metrics import Reliability

_WIDTH, _HEIGHT = 320, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 22, 12, 38
_GRID_STEP = 0.2
_MIN_PICTURES_OF_A_DOT = 5
_MAX_DOTS = 10  # of a line


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
) -> Markup:
    """Lines over evenly spaced places; values are shares, shown in percent.

    Args:
        series: each with one value per place.
        places: labels below the axis; "" leaves a place without one.
        x_label: what the places are.
        low, high: ends of the vertical axis, multiples of 0.2.
        title: read by screen readers.
    """
    frame = _Frame(low, high, len(places))
    svg = Svg(_WIDTH, _HEIGHT, title=title or x_label)
    _add_axes(svg, frame, places, x_label)
    for number, one in enumerate(series):
        points = [(frame.x(place), frame.y(value)) for place, value in enumerate(one.values)]
        _add_line(svg, points, css=f"line series-{number}")
        if len(points) <= _MAX_DOTS:
            tips = [f"{one.name}: {value:.1%}" for value in one.values]
            _add_dots(svg, points, css=f"dot series-{number}", tips=tips)
    return svg.markup()


def reliability_diagram(after: Reliability, before: Reliability | None, *, title: str) -> Markup:
    """How often answers of each confidence were true; on the diagonal they are taken at their word.

    The line is the model as it is, the dashed one before its temperature; bars below count the pictures. Places with
    fewer than five pictures say nothing and have no dot.
    """
    frame = _Frame(0.0, 1.0, 2, height=_HEIGHT - 30)
    svg = Svg(_WIDTH, _HEIGHT, title=title)
    _add_axes(svg, frame, ["0 %", "100 %"], "confidence of the answer")
    _add_line(svg, [(frame.x(0), frame.y(0)), (frame.x(1), frame.y(1))], css="line ideal")
    total = sum(part.num_pictures for part in after.bins) or 1
    for part in after.bins:
        height = min(26 * part.num_pictures / total * 2, 26)
        svg.add(
            "rect",
            css="bar",
            tip=f"{part.num_pictures} pictures",
            x=frame.x(part.low),
            y=_HEIGHT - _BOTTOM - height,
            width=frame.x(part.high) - frame.x(part.low) - 1,
            height=height,
        )
    for number, diagram in ((1, before), (0, after)):
        if diagram is not None:
            filled = [part for part in diagram.bins if part.num_pictures >= _MIN_PICTURES_OF_A_DOT]
            points = [(frame.x(part.confidence), frame.y(part.truth)) for part in filled]
            tips = [
                f"{part.num_pictures} pictures: {part.confidence:.0%} sure, {part.truth:.0%} true" for part in filled
            ]
            _add_line(svg, points, css=f"line series-{number}")
            _add_dots(svg, points, css=f"dot series-{number}", tips=tips)
    return svg.markup()


def _add_axes(svg: Svg, frame: _Frame, places: Sequence[str], x_label: str) -> None:
    """Lines and labels of values, labels of places, and what the places are."""
    for step in range(round((frame.high - frame.low) / _GRID_STEP) + 1):
        value = frame.low + _GRID_STEP * step
        y = frame.y(value)
        svg.add("line", css="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y)
        svg.add("text", css="tick", text=f"{100 * value:.0f}", x=_LEFT - 6, y=y + 3.5, text_anchor="end")
    for place, label in enumerate(places):
        if label:
            y = _HEIGHT - _BOTTOM + 15
            svg.add("text", css="tick", text=label, x=frame.x(place), y=y, text_anchor="middle")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    svg.add("text", css="axis", text=x_label, x=middle, y=_HEIGHT - 6, text_anchor="middle")


def _add_line(svg: Svg, points: Sequence[tuple[float, float]], *, css: str) -> None:
    svg.add("polyline", css=css, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))


def _add_dots(svg: Svg, points: Sequence[tuple[float, float]], *, css: str, tips: Sequence[str]) -> None:
    for (x, y), tip in zip(points, tips, strict=True):
        svg.add("circle", css=css, tip=tip, cx=x, cy=y, r=2.8)
