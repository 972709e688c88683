"""Exports metric values through Ray, as `ray_emostream_*` on each node; scrape configurations strip `ray_`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray.serve import metrics as ray_metrics

from emostream.telemetry.metrics import MetricType
from emostream.telemetry.values import Deltas, Distribution, Labels, MetricFamily

# Ray rejects increments of 0, but a series must exist from its first value on; this does not change any sum.
_AS_GOOD_AS_NOTHING = 1e-300


class RayRecorder:
    """Exports metric values of a replica; called repeatedly with all of them.

    Ray's counters and histograms take increments, so the increments since the last call are passed on. Counters start
    with an increment of practically 0, because alerts see an increase only after an earlier value. Histograms receive
    each bucket's mean as often as values fell into the bucket: counts are exact, but Ray exports a sum of bucket
    middles, so nothing that ships uses `_sum`. Series cannot be removed from Ray; gauges are set to 0 instead.
    """

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}  # by name
        self._deltas = Deltas()
        self._counters: dict[str, set[Labels]] = {}
        self._gauges: dict[str, set[Labels]] = {}

    def __call__(self, families: Sequence[MetricFamily]) -> None:
        """Export the values."""
        for family in families:
            made = self._made.get(family.metric.name)
            if made is None:
                made = self._made[family.metric.name] = _make(family)
            if family.metric.type is MetricType.COUNTER:
                self._count(made, family)
            elif family.metric.type is MetricType.GAUGE:
                self._set(made, family)
            else:
                for series, distribution in family.distributions.items():
                    self._observe(made, family, series, distribution)

    def _count(self, counter: ray_metrics.Counter, family: MetricFamily) -> None:
        begun = self._counters.setdefault(family.metric.name, set())
        for series, value in family.values.items():
            grown = self._deltas.of((family.metric.name, series), value)
            if series not in begun:
                counter.inc(_AS_GOOD_AS_NOTHING, tags=_tags(family, series))
                begun.add(series)
            if grown > 0:
                counter.inc(grown, tags=_tags(family, series))

    def _set(self, gauge: ray_metrics.Gauge, family: MetricFamily) -> None:
        gone = self._gauges.get(family.metric.name, set()) - family.values.keys()
        for series in gone:
            gauge.set(0, tags=_tags(family, series))
        for series, value in family.values.items():
            gauge.set(value, tags=_tags(family, series))
        self._gauges[family.metric.name] = set(family.values)

    def _observe(
        self, histogram: ray_metrics.Histogram, family: MetricFamily, series: Labels, distribution: Distribution
    ) -> None:
        tags = _tags(family, series)
        for bucket, (count, total) in enumerate(zip(distribution.counts, distribution.sums, strict=True)):
            key = (family.metric.name, series, bucket)
            num_new, new_total = self._deltas.of((*key, "n"), count), self._deltas.of((*key, "sum"), total)
            for _ in range(int(num_new)):
                histogram.observe(new_total / num_new, tags=tags)


def _make(family: MetricFamily) -> Any:
    metric = family.metric
    arguments: dict[str, Any] = {"description": metric.help, "tag_keys": family.names}  # its types allow one tag only
    if metric.type is MetricType.COUNTER:
        return ray_metrics.Counter(metric.name, **arguments)
    if metric.type is MetricType.GAUGE:
        return ray_metrics.Gauge(metric.name, **arguments)
    return ray_metrics.Histogram(metric.name, boundaries=list(metric.buckets), **arguments)


def _tags(family: MetricFamily, series: Labels) -> dict[str, str]:
    return dict(zip(family.names, series, strict=True))
