"""Reports the metrics of the shared classifier: batches, model, process and GPU."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from emostream.config import Settings
from emostream.domain.model_manifest import ModelManifest
from emostream.service.registry.metrics import MetricsLoop, Recorder
from emostream.service.registry.store import RegistryStore
from emostream.telemetry.collector import MetricsCollector
from emostream.telemetry.values import MetricFamily
from emostream.vision.classify.batcher import BatchStats
from emostream.vision.classify.classifier import EngineInfo


@contextlib.asynccontextmanager
async def measured_classifier(
    settings: Settings,
    stats: BatchStats,
    *,
    redis_url: str,
    process_id: str,
    manifest: ModelManifest,
    engine: EngineInfo | None = None,
    record: Recorder | None = None,
) -> AsyncIterator[None]:
    """Report the classifier's metrics while the context is open.

    Args:
        settings: all settings.
        stats: updated by the classifier.
        redis_url: the registry.
        process_id: unique for each start of a classifier.
        manifest: of its model.
        engine: what computes it.
        record: receives the metrics as well.
    """
    collector = MetricsCollector(has_stream_label=settings.metrics.stream_label)
    collector.watch_batches(stats, manifest=manifest, engine=engine)

    async with RegistryStore(settings.publish, redis_url=redis_url, max_retry_seconds=0) as store:

        async def collect() -> Sequence[MetricFamily]:
            await store.note_helper(process_id)
            return collector.collect()

        loop = MetricsLoop(
            process_id, collect, interval_seconds=settings.metrics.interval_seconds, store=store, record=record
        )
        measuring = asyncio.create_task(loop.run(), name=f"metrics of {process_id}")
        try:
            yield
        finally:
            measuring.cancel()
            await asyncio.wait([measuring])
