"""Formats metric values for Prometheus and serves them. The only user of prometheus-client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import Metric as Exposed
from prometheus_client.registry import Collector

from emostream.errors import ConfigError
from emostream.telemetry.values import Distribution, Labels, MetricFamily

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Media type of the result of `exposition`."""

Process = tuple[dict[str, str], Sequence[MetricFamily]]
"""Labels that distinguish a process from others at the same address, and its metric values."""


class _ValuesCollector(Collector):
    """Reads the values at each scrape."""

    def __init__(self, processes: Callable[[], Iterable[Process]]) -> None:
        self._processes = processes

    def collect(self) -> Iterable[Exposed]:
        exposed: dict[str, Exposed] = {}
        for labels, families in self._processes():
            for family in families:
                metric = family.metric
                found = exposed.setdefault(
                    metric.name, Exposed(metric.name.removesuffix("_total"), metric.help, metric.type.value)
                )
                _add_samples(found, family, labels)
        return list(exposed.values())


def exposition(processes: Iterable[Process]) -> bytes:
    """The values of several processes in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_ValuesCollector(lambda: processes))
    return generate_latest(registry)


@contextlib.contextmanager
def serving_metrics(metric_values: Callable[[], Sequence[MetricFamily]], *, host: str, port: int) -> Iterator[int]:
    """Serve `/metrics` over HTTP in a thread while the context is open. Yields the port; port 0 picks a free one.

    Raises:
        ConfigError: the address is in use, or does not belong to this machine.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_ValuesCollector(lambda: [({}, metric_values())]))
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as exc:
        raise ConfigError(f"cannot serve metrics on {host}:{port}: {exc.strerror}; choose another port") from exc
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _add_samples(exposed: Exposed, family: MetricFamily, labels: dict[str, str]) -> None:
    for series, value in family.values.items():
        exposed.add_sample(family.metric.name, _labels(family, series, labels), value)
    for series, found in family.distributions.items():
        of_series = _labels(family, series, labels)
        for bound, count in zip(_bounds(family), _added_up(found), strict=True):
            exposed.add_sample(f"{family.metric.name}_bucket", {**of_series, "le": bound}, count)
        exposed.add_sample(f"{family.metric.name}_count", of_series, sum(found.counts))
        exposed.add_sample(f"{family.metric.name}_sum", of_series, sum(found.sums))


def _labels(family: MetricFamily, series: Labels, labels: dict[str, str]) -> dict[str, str]:
    return {**labels, **dict(zip(family.names, series, strict=True))}


def _bounds(family: MetricFamily) -> list[str]:
    return [*(str(float(bound)) for bound in family.metric.buckets), "+Inf"]


def _added_up(found: Distribution) -> list[int]:
    total, totals = 0, []
    for count in found.counts:
        total += count
        totals.append(total)
    return totals
