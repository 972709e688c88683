"""Metrics of a stream worker."""

from __future__ import annotations

from collections import Counter

from emostream.decode.live_source import StateObserver
from emostream.decode.source import FrameSource
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.stream import StreamSpec, StreamState
from emostream.publish.sink import EventSink
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.records import StreamRecord
from emostream.service.worker.host import StreamFactory, StreamHost, TunablePipeline
from emostream.service.worker.worker import StreamWorker
from emostream.telemetry.collector import MetricsCollector, live_source_of
from emostream.telemetry.metrics import LEASE_CHANGES, MAX_STREAMS, STREAMS, WANTED_STREAMS
from emostream.telemetry.values import Deltas, MetricFamily


class MeasuredStreamFactory:
    """A `StreamFactory` whose sources are watched by a collector."""

    def __init__(self, parts: StreamFactory, *, collector: MetricsCollector) -> None:
        self._parts = parts
        self._collector = collector
        self._sources: dict[str, FrameSource] = {}

    def source(self, spec: StreamSpec, *, on_state: StateObserver, has_worked: bool) -> FrameSource:
        """See `StreamFactory.source`."""
        source = self._sources[spec.stream_id] = self._parts.source(spec, on_state=on_state, has_worked=has_worked)
        return source

    def pipeline(self, record: StreamRecord, *, epoch: int, source: FrameSource, sink: EventSink) -> TunablePipeline:
        """See `StreamFactory.pipeline`; `source` wraps the source that was created before."""
        inner = self._sources.pop(record.stream_id)
        self._collector.watch_source(record.stream_id, source, live=live_source_of(inner))
        return self._parts.pipeline(record, epoch=epoch, source=source, sink=sink)

    def detect(self, luma: Luma) -> list[Face]:
        """See `StreamFactory.detect`."""
        return self._parts.detect(luma)


class WorkerMetrics:
    """Collects the metrics of a worker and its streams.

    Args:
        collector: watches the worker's streams.
        worker, host, leases: the worker's parts.
        max_streams: largest number of streams of this worker.
    """

    def __init__(
        self,
        collector: MetricsCollector,
        *,
        worker: StreamWorker,
        host: StreamHost,
        leases: StreamLeases,
        max_streams: int,
    ) -> None:
        self._collector = collector
        self._worker = worker
        self._host = host
        self._leases = leases
        self._max_streams = max_streams
        self._deltas = Deltas()

    async def collect(self) -> list[MetricFamily]:
        """The current metric values."""
        metric_values, reports = self._collector.metric_values, self._host.reports()
        self._collector.keep_streams(reports.keys())
        states = Counter(report.state for report in reports.values())
        # Finished streams leave the worker; the API counts them in the registry.
        metric_values.replace(
            STREAMS, [({"state": state.value}, states[state]) for state in StreamState if not state.is_final]
        )
        metric_values.set(WANTED_STREAMS, self._worker.load.num_wanted)
        metric_values.set(MAX_STREAMS, self._max_streams)
        stats = self._leases.stats
        changes = {"claimed": stats.num_claimed, "released": stats.num_released, "lost": stats.num_lost}
        for change, count in changes.items():
            metric_values.add(LEASE_CHANGES, self._deltas.of(change, count), change=change)
        return self._collector.collect(
            resting_ids={stream_id for stream_id in reports if self._host.record_of(stream_id).is_paused}
        )
