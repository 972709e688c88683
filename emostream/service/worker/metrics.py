"""The figures of a stream worker."""

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
    """`StreamFactory` whose sources are watched."""

    def __init__(self, parts: StreamFactory, *, collector: MetricsCollector) -> None:
        self._parts = parts
        self._collector = collector
        self._sources: dict[str, FrameSource] = {}

    def source(self, spec: StreamSpec, *, on_state: StateObserver, has_worked: bool) -> FrameSource:
        """As the parts make it."""
        source = self._sources[spec.stream_id] = self._parts.source(spec, on_state=on_state, has_worked=has_worked)
        return source

    def pipeline(self, record: StreamRecord, *, epoch: int, source: FrameSource, sink: EventSink) -> TunablePipeline:
        """As the parts make it; `source` is the one made before, with the stream's pace around it."""
        inner = self._sources.pop(record.stream_id)
        self._collector.watch_source(record.stream_id, source, live=live_source_of(inner))
        return self._parts.pipeline(record, epoch=epoch, source=source, sink=sink)

    def detect(self, luma: Luma) -> list[Face]:
        """As the parts find them."""
        return self._parts.detect(luma)


class WorkerMetrics:
    """Reads the figures of a worker and its streams.

    Args:
        measurement: of the worker's streams.
        worker, host, leases: what is measured.
        max_streams: most that this worker takes.
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
        """The figures now."""
        metric_values, reports = self._collector.metric_values, self._host.reports()
        self._collector.keep_streams(reports.keys())
        states = Counter(report.state for report in reports.values())
        # What has ended leaves the worker; the interface counts it in the registry.
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
