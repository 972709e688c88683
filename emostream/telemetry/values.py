"""The metric values of a process, written by those who measure and read by those who export."""

from __future__ import annotations

import bisect
import json
import threading
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from emostream.telemetry.metrics import METRICS, STREAM_LABEL, Metric

Labels = tuple[str, ...]
"""Values of a metric's labels, in the order of the label names."""


@dataclass(slots=True)
class Distribution:
    """The state of a histogram: count and sum of values per bucket (+Inf last), not cumulative."""

    counts: list[int]
    sums: list[float]


@dataclass(slots=True)
class MetricFamily:
    """A metric and its series; `names` are its labels here (without the stream label where that is disabled)."""

    metric: Metric
    names: tuple[str, ...]
    values: dict[Labels, float] = field(default_factory=dict)
    distributions: dict[Labels, Distribution] = field(default_factory=dict)


class MetricValues:
    """Stores metric values. Thread-safe.

    Args:
        has_stream_label: keep streams apart; otherwise their values are combined as each metric defines.
    """

    def __init__(self, *, has_stream_label: bool = True) -> None:
        self._has_stream_label = has_stream_label
        self._lock = threading.Lock()
        self._families: dict[str, MetricFamily] = {}

    def add(self, metric: Metric, amount: float, **labels: str) -> None:
        """Increase a counter; its series exists from the first call on, even with amount 0."""
        with self._lock:
            family = self._family(metric)
            series = _series(family, labels)
            family.values[series] = family.values.get(series, 0.0) + amount

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set one series of a gauge. Where streams are combined, use `replace`."""
        with self._lock:
            family = self._family(metric)
            family.values[_series(family, labels)] = value

    def replace(self, metric: Metric, values: Iterable[tuple[Mapping[str, str], float]]) -> None:
        """Set all series of a gauge at once; series that are not given are removed."""
        with self._lock:
            family = self._family(metric)
            family.values.clear()
            for labels, value in values:
                series = _series(family, labels)
                before = family.values.get(series)
                if before is not None:
                    value = max(before, value) if metric.takes_maximum else before + value  # noqa: PLW2901
                family.values[series] = value

    def observe(self, metric: Metric, value: float, *, count: int = 1) -> None:
        """Add a value to a histogram, `count` times."""
        with self._lock:
            distributions = self._family(metric).distributions
            size = len(metric.buckets) + 1
            found = distributions.setdefault((), Distribution([0] * size, [0.0] * size))
            bucket = bisect.bisect_left(metric.buckets, value)
            found.counts[bucket] += count
            found.sums[bucket] += value * count

    def keep_streams(self, stream_ids: Collection[str]) -> None:
        """Remove the series of all other streams."""
        with self._lock:
            for family in self._families.values():
                if STREAM_LABEL in family.names:
                    position = family.names.index(STREAM_LABEL)
                    gone = [series for series in family.values if series[position] not in stream_ids]
                    for series in gone:
                        del family.values[series]

    def families(self) -> list[MetricFamily]:
        """Copies of all metrics that have a value."""
        with self._lock:
            return [_copy(family) for family in self._families.values()]

    def _family(self, metric: Metric) -> MetricFamily:
        found = self._families.get(metric.name)
        if found is None:
            names = tuple(name for name in metric.labels if self._has_stream_label or name != STREAM_LABEL)
            found = self._families[metric.name] = MetricFamily(metric, names)
        return found


class Deltas:
    """Turns counts that only grow into increments. A smaller count means that the counter was reset.

    >>> growth = Deltas()
    >>> [growth.of("door", count) for count in (3, 5, 5, 1)]
    [3, 2, 0, 1]
    """

    def __init__(self) -> None:
        self._last: dict[Hashable, float] = {}

    def of(self, key: Hashable, count: float) -> float:
        """The increment of the count with this key since the last call."""
        before = self._last.get(key, 0)
        self._last[key] = count
        return count - before if count >= before else count

    def forget(self, key: Hashable) -> None:
        """The count with this key was reset to 0."""
        self._last.pop(key, None)


def json_from_families(families: Iterable[MetricFamily]) -> str:
    """Serialise metric values to one line of JSON, for another process of the service."""
    content = [
        {
            "name": family.metric.name,
            "labels": family.names,
            "values": list(family.values.items()),
            "distributions": [(series, found.counts, found.sums) for series, found in family.distributions.items()],
        }
        for family in families
    ]
    return json.dumps(content, separators=(",", ":"))


def families_from_json(text: str | bytes) -> list[MetricFamily]:
    """The inverse of `json_from_families`; unknown metrics are ignored."""
    return [
        MetricFamily(
            METRICS[item["name"]],
            tuple(item["labels"]),
            {tuple(series): float(value) for series, value in item["values"]},
            {tuple(series): Distribution(counts, sums) for series, counts, sums in item["distributions"]},
        )
        for item in json.loads(text)
        if item["name"] in METRICS
    ]


def _series(family: MetricFamily, labels: Mapping[str, str]) -> Labels:
    if labels.keys() != set(family.metric.labels):
        raise ValueError(f"{family.metric.name}: expected the labels {family.metric.labels}, got {sorted(labels)}")
    return tuple(labels[name] for name in family.names)


def _copy(family: MetricFamily) -> MetricFamily:
    distributions = {
        series: Distribution(list(found.counts), list(found.sums)) for series, found in family.distributions.items()
    }
    return MetricFamily(family.metric, family.names, dict(family.values), distributions)
