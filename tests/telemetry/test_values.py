"""The values of metrics in a process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.telemetry.metrics import (
    BATCH_SIZE,
    DECODED_FRAMES,
    DROPPED_FRAMES,
    EMOTION_FACES,
    SOURCE_LAG,
    VISIBLE_FACES,
    Metric,
)
from emostream.telemetry.values import Deltas, MetricValues, families_from_json, json_from_families


def values_of(metric_values: MetricValues, metric: Metric) -> dict[tuple[str, ...], float]:
    return next((family.values for family in metric_values.families() if family.metric is metric), {})


def test_counters_grow_per_series() -> None:
    metric_values = MetricValues()
    for stream_id, amount in (("a", 2), ("b", 3), ("a", 5)):
        metric_values.add(DECODED_FRAMES, amount, stream_id=stream_id)
    assert values_of(metric_values, DECODED_FRAMES) == {("a",): 7, ("b",): 3}


def test_without_the_stream_label_streams_are_put_together() -> None:
    metric_values = MetricValues(has_stream_label=False)
    metric_values.add(DROPPED_FRAMES, 2, stream_id="a", reason="late")
    metric_values.add(DROPPED_FRAMES, 3, stream_id="b", reason="late")
    metric_values.replace(SOURCE_LAG, [({"stream_id": "a"}, 2.0), ({"stream_id": "b"}, 5.0)])
    metric_values.replace(VISIBLE_FACES, [({"stream_id": "a"}, 2), ({"stream_id": "b"}, 5)])
    assert values_of(metric_values, DROPPED_FRAMES) == {("late",): 5}
    assert values_of(metric_values, SOURCE_LAG) == {(): 5.0}, "of lags the greatest counts"
    assert values_of(metric_values, VISIBLE_FACES) == {(): 7}


def test_replacing_forgets_what_is_not_named() -> None:
    metric_values = MetricValues()
    metric_values.replace(VISIBLE_FACES, [({"stream_id": "a"}, 2)])
    metric_values.replace(VISIBLE_FACES, [({"stream_id": "b"}, 3)])
    assert values_of(metric_values, VISIBLE_FACES) == {("b",): 3}


@pytest.mark.parametrize(("has_stream_label", "left"), [(True, {("b", "sad"): 3}), (False, {("sad",): 4})])
def test_forgetting_streams_keeps_sums(has_stream_label: bool, left: dict[tuple[str, ...], float]) -> None:
    metric_values = MetricValues(has_stream_label=has_stream_label)
    metric_values.add(EMOTION_FACES, 1, stream_id="a", emotion="sad")
    metric_values.add(EMOTION_FACES, 3, stream_id="b", emotion="sad")
    metric_values.keep_streams({"b"})
    assert values_of(metric_values, EMOTION_FACES) == left


def test_labels_must_fit() -> None:
    with pytest.raises(ValueError):
        MetricValues().add(DECODED_FRAMES, 1, camera="a")


@given(st.lists(st.floats(0, 300), max_size=40))
def test_histograms_lose_nothing(values: list[float]) -> None:
    metric_values = MetricValues()
    for value in values:
        metric_values.observe(BATCH_SIZE, value)
    if values:
        (found,) = metric_values.families()[0].distributions.values()
        assert sum(found.counts) == len(values)
        assert sum(found.sums) == pytest.approx(sum(values))
        bounds = [0.0, *BATCH_SIZE.buckets, float("inf")]
        for low, high, count, total in zip(bounds, bounds[1:], found.counts, found.sums, strict=False):
            assert count == 0 or (low <= total / count * (1 + 1e-9) and total / count <= high * (1 + 1e-9))


def test_a_value_on_a_bound_is_below_it() -> None:
    metric_values = MetricValues()
    metric_values.observe(BATCH_SIZE, 2, count=3)
    assert metric_values.families()[0].distributions[()].counts == [0, 3, 0, 0, 0, 0, 0, 0, 0]


@given(st.lists(st.integers(0, 5), max_size=30))
def test_growth_adds_up(steps: list[int]) -> None:
    growth, count, total = Deltas(), 0, 0.0
    for step in steps:
        count += step
        total += growth.of("x", count)
    assert total == count


def test_figures_pass_between_processes() -> None:
    metric_values = MetricValues()
    metric_values.add(DECODED_FRAMES, 7, stream_id="a")
    metric_values.observe(BATCH_SIZE, 3)
    families = metric_values.families()
    assert families_from_json(json_from_families(families)) == families


def test_metrics_of_a_newer_version_are_left_out() -> None:
    text = '[{"name":"emostream_weather","labels":[],"values":[],"distributions":[]}]'
    assert families_from_json(text) == []
