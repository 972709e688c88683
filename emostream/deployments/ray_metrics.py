"""Figures → Ray's metrics, which each node exports as `ray_emostream_*`; scrape configurations strip `ray_` again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray.serve import metrics as ray_metrics

from emostream.telemetry.metrics import MetricType
from emostream.telemetry.values import Deltas, Distribution, Labels, MetricFamily

# Ray refuses to add 0, and a series exists from the first addition on. Whatever is counted later, its sum is exact.
_AS_GOOD_AS_NOTHING = 1e-300


class RayRecorder:
    """Call it with all figures of a replica, again and again.

    Ray's counters and histograms take what is added, not what there is, so this hands over what was added since the
    last call. A counter begins with nothing added, because an alert sees growth only after an earlier value. A
    histogram gets the mean of each bucket as often as values fell into it. Its counts are exact; Ray exports a sum made
    of the middles of the buckets, so nothing shipped uses `_sum`. Series that are gone cannot be taken back from Ray;
    gauges are set to 0 instead.
    """

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}  # by name
        self._deltas = Deltas()
        self._counters: dict[str, set[Labels]] = {}
        self._gauges: dict[str, set[Labels]] = {}

    def __call__(self, families: Sequence[MetricFamily]) -> None:
        """Hand over."""
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
