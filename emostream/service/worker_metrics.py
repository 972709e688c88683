"""The figures of a stream worker, and how they reach whoever shows them.

Workers write their figures into Redis, where the HTTP interface finds those of all that live: one address for the whole
service, also where workers come and go (docs/decisions/0006). A recorder gets them as well; under Ray it hands them to
Ray's own metrics.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from emostream.decode.live_source import StateObserver
from emostream.decode.source import FrameSource
from emostream.errors import PublishError
from emostream.figures import Family, Growth, json_from_families
from emostream.measurement import Measurement, live_source_of
from emostream.metrics import LEASE_CHANGES, MAX_STREAMS, STREAMS, WANTED_STREAMS
from emostream.publish.keys import registry_key
from emostream.publish.sink import EventSink
from emostream.service.leases import StreamLeases
from emostream.service.record import StreamRecord
from emostream.service.store import RegistryStore
from emostream.service.stream_host import PipelineParts, StreamHost, TunablePipeline
from emostream.service.worker import StreamWorker
from emostream.stream import StreamSpec, StreamState

logger = logging.getLogger(__name__)

_NUM_INTERVALS_KEPT = 5  # figures of a worker that is silent for longer are not shown any more

Recorder = Callable[[Sequence[Family]], None]
"""Takes all figures of a process at every interval."""


def metrics_key(worker_id: str) -> str:
    """Where a worker's figures are."""
    return registry_key(f"metrics:{worker_id}")


class MeasuredParts:
    """`PipelineParts` whose sources are watched."""

    def __init__(self, parts: PipelineParts, *, measurement: Measurement) -> None:
        self._parts = parts
        self._measurement = measurement
        self._sources: dict[str, FrameSource] = {}

    def source(self, spec: StreamSpec, *, on_state: StateObserver) -> FrameSource:
        """As the parts make it."""
        source = self._sources[spec.stream_id] = self._parts.source(spec, on_state=on_state)
        return source

    def pipeline(self, record: StreamRecord, *, epoch: int, source: FrameSource, sink: EventSink) -> TunablePipeline:
        """As the parts make it; `source` is the one made before, with the stream's pace around it."""
        inner = self._sources.pop(record.stream_id)
        self._measurement.watch_source(record.stream_id, source, live=live_source_of(inner))
        return self._parts.pipeline(record, epoch=epoch, source=source, sink=sink)


class WorkerMetrics:
    """Await `run` beside the worker; it ends by being cancelled.

    Args:
        measurement: of the worker's streams.
        worker, host, leases: what is measured.
        store: connection to the registry.
        max_streams: most that this worker takes.
        interval_seconds: pause between looks.
        record: gets the figures as well.
    """

    def __init__(
        self,
        measurement: Measurement,
        *,
        worker: StreamWorker,
        host: StreamHost,
        leases: StreamLeases,
        store: RegistryStore,
        max_streams: int,
        interval_seconds: float,
        record: Recorder | None = None,
    ) -> None:
        self._measurement = measurement
        self._worker = worker
        self._host = host
        self._leases = leases
        self._store = store
        self._max_streams = max_streams
        self._interval_seconds = interval_seconds
        self._record = record
        self._growth = Growth()

    async def run(self) -> None:
        """Look, tell, pause."""
        while True:
            try:
                families = self.collect()
                if self._record is not None:
                    self._record(families)
                await self._send(families)
            except PublishError as exc:
                logger.debug("metrics of %s are not shown by the interface: %s", self._worker.worker_id, exc)
            except Exception:  # the top of this loop: measuring must not end what is measured
                logger.exception("worker %s: internal error in its metrics", self._worker.worker_id)
            await asyncio.sleep(self._interval_seconds)

    def collect(self) -> list[Family]:
        """The figures now."""
        figures, reports = self._measurement.figures, self._host.reports()
        self._measurement.keep_streams(reports.keys())
        states = Counter(report.state for report in reports.values())
        # What has ended leaves the worker; the interface counts it in the registry.
        figures.replace(
            STREAMS, [({"state": state.value}, states[state]) for state in StreamState if not state.is_final]
        )
        figures.set(WANTED_STREAMS, self._worker.load.num_wanted)
        figures.set(MAX_STREAMS, self._max_streams)
        stats = self._leases.stats
        changes = {"claimed": stats.num_claimed, "released": stats.num_released, "lost": stats.num_lost}
        for change, count in changes.items():
            figures.add(LEASE_CHANGES, self._growth.of(change, count), change=change)
        return self._measurement.collect(
            resting_ids={stream_id for stream_id in reports if self._host.record_of(stream_id).is_paused}
        )

    async def _send(self, families: Sequence[Family]) -> None:
        seconds = max(10, round(_NUM_INTERVALS_KEPT * self._interval_seconds))
        await self._store.put(metrics_key(self._worker.worker_id), json_from_families(families), seconds=seconds)


async def metrics_of_workers(store: RegistryStore, worker_ids: Sequence[str]) -> dict[str, bytes]:
    """The figures that workers wrote lately, as JSON, by worker id; errors as in `RegistryStore.run`."""
    found = await store.values_of([metrics_key(worker_id) for worker_id in worker_ids])
    return {worker_id: text for worker_id, text in zip(worker_ids, found, strict=True) if text is not None}
