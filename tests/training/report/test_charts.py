"""Charts: well-formed, values where they belong, nothing fetched."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from training.measure.metrics import reliability
from training.report.charts import Series, line_chart, reliability_diagram


def points_of(svg: str, css: str) -> list[tuple[float, float]]:
    for line in ElementTree.fromstring(svg).iter("polyline"):
        if line.get("class") == css:
            return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.get("points", "").split())]
    raise AssertionError(f"no {css} in {svg}")


def test_lines_go_up_with_their_values_and_right_with_their_places() -> None:
    svg = line_chart([Series("a & b", [0.2, 0.6, 1.0]), Series("c", [0.2] * 3)], places=["1", "", "3"], x_label="x < y")
    first, second = points_of(svg, "line series-0"), points_of(svg, "line series-1")
    assert [x for x, _ in first] == sorted(x for x, _ in first)
    assert first[0][1] - first[1][1] == pytest.approx(first[1][1] - first[2][1], abs=0.15)
    assert second[0] == pytest.approx(first[0])
    texts = [text.text for text in ElementTree.fromstring(svg).iter("text")]
    assert {"0", "20", "100", "1", "3", "x < y"} <= set(texts)
    assert "a & b: 60.0%" in [title.text for title in ElementTree.fromstring(svg).iter("title")]


def test_the_axis_may_begin_higher() -> None:
    svg = line_chart([Series("a", [0.4, 1.0])], places=["1", "2"], x_label="x", low=0.4)
    texts = [text.text for text in ElementTree.fromstring(svg).iter("text")]
    assert {"40", "60", "80", "100"} <= set(texts)
    assert "20" not in texts


def test_an_honest_model_lies_on_the_diagonal() -> None:
    confidence = np.linspace(0.52, 0.98, 240)
    diagram = reliability(np.stack([confidence, 1 - confidence], axis=1), confidence)
    svg = reliability_diagram(diagram, None, title="honest")
    (x0, y0), (x1, y1) = points_of(svg, "line ideal")
    for x, y in points_of(svg, "line series-0"):
        assert (y - y0) / (y1 - y0) == pytest.approx((x - x0) / (x1 - x0), abs=0.01)
    assert "line series-1" not in svg
    assert "line series-1" in reliability_diagram(diagram, diagram, title="both")
    assert sum(int(number) for number in re.findall(r"(\d+) pictures</title></rect>", svg)) == 240
