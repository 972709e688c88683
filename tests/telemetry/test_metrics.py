"""Declarations of metrics, and that nothing shipped names one that is not declared."""

from __future__ import annotations

import re

import pytest

from emostream.telemetry.metrics import DECODED_FRAMES, METRICS, Metric, MetricType, metrics_page
from tests.conftest import REPOSITORY

_UNITS = ("seconds", "bytes", "ratio", "info", "frames", "events", "faces", "streams", "senders", "size", "wanted")
_NAME = re.compile(r"\b(?:ray_)?(emostream_(?:[a-z]+_)*[a-z]+)\b")
_SUFFIXES = ("_bucket", "_count", "_sum")


def test_declarations_are_complete() -> None:
    incomplete = [
        metric.name
        for metric in METRICS.values()
        if not metric.name.startswith("emostream_")
        or not (metric.help.endswith(".") and metric.action.endswith("."))
        or bool(set(metric.labels) - {"stream_id"}) != bool(metric.label_values)
        or list(metric.buckets) != sorted(set(metric.buckets))
        or (metric.type is not MetricType.COUNTER and not metric.name.endswith(_UNITS))
    ]
    assert METRICS
    assert incomplete == []


def test_only_counters_end_in_total() -> None:
    with pytest.raises(ValueError, match="_total"):
        Metric("emostream_frames", "x.", "y.")
    with pytest.raises(ValueError, match="buckets"):
        Metric("emostream_seconds", "x.", "y.", type=MetricType.HISTOGRAM)


def test_the_page_is_in_step() -> None:
    page = REPOSITORY / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == metrics_page(), (
        "run `python -m emostream.telemetry.metrics > docs/metrics.md`"
    )
    assert DECODED_FRAMES.name in metrics_page()


def _names_in(text: str) -> set[str]:
    found = set()
    for name in _NAME.findall(text):
        bare = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)
        found.add(bare if bare in METRICS else name)
    return found


@pytest.mark.parametrize("folder", ["deploy/prometheus", "deploy/grafana", "helm/emostream/files"])
def test_every_name_that_is_shipped_is_declared(folder: str) -> None:
    for path in sorted((REPOSITORY / folder).rglob("*")):
        if path.suffix in (".json", ".yaml", ".yml"):
            assert _names_in(path.read_text(encoding="utf-8")) <= METRICS.keys(), path
