"""A stream worker that is measured, of real parts but for its sources and models."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from emostream.publish.sink import EventSink
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.metrics import MetricsLoop, Recorder
from emostream.service.registry.store import RegistryStore
from emostream.service.senders.figures import SenderCounters
from emostream.service.worker.host import StreamHost
from emostream.service.worker.metrics import MeasuredStreamFactory, WorkerMetrics
from emostream.service.worker.worker import StreamWorker
from emostream.telemetry.collector import MetricsCollector
from tests.service.streams import ScriptedParts


@contextlib.asynccontextmanager
async def measured_worker(
    store: RegistryStore,
    *,
    sink: EventSink,
    parts: ScriptedParts | None = None,
    record: Recorder | None = None,
    senders: SenderCounters | None = None,
) -> AsyncIterator[StreamWorker]:
    """Worker `w1`, looked at ten times a second; `sink` is not closed."""
    senders = senders or SenderCounters()
    parts, collector = parts or ScriptedParts(), MetricsCollector()
    collector.watch_classifier(parts.batcher)
    leases = StreamLeases(store, worker_id="w1", max_streams=7, ttl_seconds=2.0)
    host = StreamHost(MeasuredStreamFactory(parts, collector=collector), sink=collector.measured(sink), worker_id="w1")
    worker = StreamWorker(store, leases=leases, host=host, worker_id="w1", heartbeat_seconds=0.05)
    metrics = WorkerMetrics(
        collector,
        worker=worker,
        host=host,
        leases=leases,
        max_streams=7,
        senders=senders,
        num_senders=lambda: {"webrtc": 0, "pictures": 0},
    )
    loop = MetricsLoop("w1", metrics.collect, interval_seconds=0.1, store=store, record=record)
    running, measuring = asyncio.create_task(worker.run()), asyncio.create_task(loop.run())
    try:
        yield worker
    finally:
        measuring.cancel()
        await worker.drain(timeout_seconds=5)
        await running
