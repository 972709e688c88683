"""What is measured of events on their way to a sink."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from emostream.errors import SinkUnavailableError
from emostream.telemetry.metrics import (
    DROPPED_FRAMES,
    EMOTION_FACES,
    EVENT_LATENCY,
    FACES,
    LAST_LATENCY,
    PUBLISHED_EVENTS,
    REPEATED_FRAMES,
    STAGE_SECONDS,
    TRACKS,
    VISIBLE_FACES,
    Metric,
)
from emostream.telemetry.metrics_sink import MetricsSink
from emostream.telemetry.values import MetricValues
from emostream.testing.fakes import CollectingSink, FakeClock
from tests.publish.samples import EVENT, STATUS


def of(metric_values: MetricValues, metric: Metric) -> dict[tuple[str, ...], float]:
    return next((family.values for family in metric_values.families() if family.metric is metric), {})


@pytest.fixture
def metric_values() -> MetricValues:
    return MetricValues()


async def test_counts_what_was_delivered(metric_values: MetricValues) -> None:
    inner = CollectingSink()
    sink = MetricsSink(inner, metric_values=metric_values, now=FakeClock(EVENT.captured_at + timedelta(seconds=0.05)))
    second = replace(
        EVENT, frame_index=1, num_dropped=2, is_classified=False, latency_ms={"detect": 4.0, "classify": 6.0}
    )
    await sink.publish([EVENT, second])
    await sink.publish_status(STATUS)
    sink.collect()
    assert of(metric_values, PUBLISHED_EVENTS) == {("door",): 2}
    assert of(metric_values, FACES) == {("door",): 2}
    assert of(metric_values, TRACKS) == {("door",): 1}, "both events show the same face"
    assert of(metric_values, EMOTION_FACES) == {("door", "happy"): 2}
    assert of(metric_values, DROPPED_FRAMES) == {("door", "late"): 2}
    assert of(metric_values, REPEATED_FRAMES) == {("door",): 1}
    assert of(metric_values, VISIBLE_FACES) == {("door",): 1}
    assert of(metric_values, LAST_LATENCY) == {("door",): pytest.approx(0.05)}
    assert of(metric_values, STAGE_SECONDS)["classify",] == pytest.approx(0.006)
    (latency,) = next(f.distributions for f in metric_values.families() if f.metric is EVENT_LATENCY).values()
    assert latency.counts[EVENT_LATENCY.buckets.index(0.06)] == 2
    assert (len(inner.events), inner.statuses) == (2, [STATUS])


async def test_a_new_run_counts_its_tracks_anew(metric_values: MetricValues) -> None:
    sink = MetricsSink(CollectingSink(), metric_values=metric_values, now=FakeClock())
    await sink.publish([EVENT])
    await sink.publish([replace(EVENT, epoch=EVENT.epoch + 1)])
    assert of(metric_values, TRACKS) == {("door",): 2}


async def test_what_was_not_delivered_is_not_counted(metric_values: MetricValues) -> None:
    sink = MetricsSink(
        CollectingSink(failures=[SinkUnavailableError("away")]), metric_values=metric_values, now=FakeClock()
    )
    with pytest.raises(SinkUnavailableError):
        await sink.publish([EVENT])
    assert not metric_values.families()


async def test_a_stream_that_left_has_no_gauges(metric_values: MetricValues) -> None:
    sink = MetricsSink(CollectingSink(), metric_values=metric_values, now=FakeClock())
    await sink.publish([EVENT])
    sink.forget("door")
    sink.collect()
    assert not of(metric_values, VISIBLE_FACES)
