"""Metrics of a stream worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from emostream.decode.live_source import StateObserver
from emostream.decode.source import FrameSource
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.stream import StreamSpec, StreamState
from emostream.publish.sink import EventSink
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.records import StreamRecord
from emostream.service.senders.figures import OfferResult, SenderCounters
from emostream.service.worker.host import StreamFactory, StreamHost, TunablePipeline
from emostream.service.worker.worker import StreamWorker
from emostream.telemetry.collector import MetricsCollector, live_source_of
from emostream.telemetry.metrics import (
    LEASE_CHANGES,
    MAX_STREAMS,
    SENDER_BYTES,
    SENDER_KEY_FRAMES,
    SENDER_LOST,
    SENDER_OFFERS,
    SENDER_RETRANSMISSIONS,
    SENDERS,
    STREAMS,
    WAITING_FOR_SENDER,
    WANTED_STREAMS,
    Metric,
)
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
        senders: counters of those who send their video to it.
        num_senders: how many there are now, by kind.
    """

    def __init__(
        self,
        collector: MetricsCollector,
        *,
        worker: StreamWorker,
        host: StreamHost,
        leases: StreamLeases,
        max_streams: int,
        senders: SenderCounters,
        num_senders: Callable[[], Mapping[str, int]],
    ) -> None:
        self._collector = collector
        self._worker = worker
        self._host = host
        self._leases = leases
        self._max_streams = max_streams
        self._senders = senders
        self._num_senders = num_senders
        self._counted: set[tuple[str, Metric]] = set()
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
        waiting = {  # without a sender there is nothing to be late
            stream_id
            for stream_id, report in reports.items()
            if self._host.awaits_sender(stream_id) and report.state is StreamState.RECONNECTING
        }
        metric_values.set(WAITING_FOR_SENDER, len(waiting))
        self._count_senders(reports.keys())
        paused = {stream_id for stream_id in reports if self._host.record_of(stream_id).is_paused}
        return self._collector.collect(resting_ids=waiting | paused)

    def _count_senders(self, stream_ids: Collection[str]) -> None:
        metric_values = self._collector.metric_values
        metric_values.replace(SENDERS, [({"kind": kind}, count) for kind, count in self._num_senders().items()])
        for result in OfferResult:
            increment = self._deltas.of(result, self._senders.offers[result])
            metric_values.add(SENDER_OFFERS, increment, result=result.value)
        self._senders.keep_streams(stream_ids)
        counts = {
            (stream_id, metric): count
            for stream_id, figures in self._senders.of_streams().items()
            for metric, count in (
                (SENDER_BYTES, figures.num_bytes),
                (SENDER_LOST, figures.num_lost),
                (SENDER_RETRANSMISSIONS, figures.num_retransmission_requests),
                (SENDER_KEY_FRAMES, figures.num_key_frame_requests),
            )
        }
        for gone in self._counted - counts.keys():
            self._deltas.forget(gone)
        self._counted = set(counts)
        for (stream_id, metric), count in counts.items():
            metric_values.add(metric, self._deltas.of((stream_id, metric), count), stream_id=stream_id)
