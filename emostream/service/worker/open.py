"""Opens a stream worker from settings, and releases its resources in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from emostream.config import Settings
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError, RegistryUnavailableError
from emostream.pipeline.build import Models, load_models
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import Egress
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.metrics import MetricsLoop, Recorder
from emostream.service.registry.store import RegistryStore
from emostream.service.senders.figures import SenderCounters
from emostream.service.senders.inlets import PictureInlets
from emostream.service.senders.offers import OfferDesk
from emostream.service.senders.waiting import WaitingSenders
from emostream.service.worker.host import BLOCKED_SECONDS, StreamHost
from emostream.service.worker.metrics import MeasuredStreamFactory, WorkerMetrics
from emostream.service.worker.sink import deliver_leftovers, open_worker_sink
from emostream.service.worker.stream_factory import WorkerStreamFactory
from emostream.service.worker.worker import StreamWorker
from emostream.telemetry.collector import MetricsCollector
from emostream.telemetry.open_tracer import open_tracer

if TYPE_CHECKING:
    from emostream.service.senders.webrtc_hub import WebRtcHub


def _open_webrtc(
    settings: Settings, stack: AsyncExitStack, *, waiting: WaitingSenders, counters: SenderCounters
) -> WebRtcHub | None:
    """Who sends by WebRTC; None where the settings let none in. Raises `ConfigError`."""
    if not settings.webrtc.enabled:
        return None
    try:
        from emostream.service.senders.webrtc_hub import WebRtcHub
    except ImportError as exc:
        raise ConfigError(
            f"webrtc.enabled needs the package {exc.name}: pip install 'emostream[webrtc]', or disable it"
        ) from exc
    stall_seconds = settings.decode.read_timeout_seconds
    return stack.enter_context(
        WebRtcHub(settings.webrtc, waiting=waiting, counters=counters, stall_seconds=stall_seconds)
    )


@contextlib.asynccontextmanager
async def open_worker(
    settings: Settings,
    *,
    redis_url: str,
    worker_id: str,
    models: Models | None = None,
    record: Recorder | None = None,
) -> AsyncIterator[StreamWorker]:
    """Run a worker while the context is open; it releases its streams at the end.

    Args:
        settings: all settings.
        redis_url: server of the registry and the events.
        worker_id: unique for each start of a worker.
        models: shared, not closed; None loads them.
        record: also receives the worker's metrics at each interval.

    Raises:
        ModelError: a model is missing or does not fit the settings.
        SinkUnavailableError, RegistryUnavailableError, ConfigError: Redis cannot be used.
        ConfigError: frames are to be traced, but the packages for it are missing.
    """
    async with AsyncExitStack() as stack:
        tracer = stack.enter_context(open_tracer(settings.tracing, instance_id=worker_id))  # closed last
        if models is None:
            models = await asyncio.to_thread(load_models, settings)
            stack.callback(models.close)
        collector = MetricsCollector(has_stream_label=settings.metrics.stream_label)
        collector.watch_classifier(models.classifier)

        def kind_of(stream_id: str) -> StreamKind:
            return host.kind_of(stream_id)  # `host` is created below, before the first event

        sinks = await stack.enter_async_context(
            open_worker_sink(settings.publish, redis_url=redis_url, kind_of=kind_of, worker_id=worker_id)
        )
        if settings.publish.spool_dir is None:  # with a spool, Redis may become available later
            await sinks.check()
        await stack.enter_async_context(deliver_leftovers(settings.publish, redis_url=redis_url))
        sink = collector.measured(sinks)
        # No retries: heartbeats are repeated anyway.
        store = await stack.enter_async_context(
            RegistryStore(settings.publish, redis_url=redis_url, max_retry_seconds=0)
        )
        service = settings.service
        if service.name:
            with contextlib.ExitStack() as later:
                if settings.publish.spool_dir is not None:
                    later.enter_context(contextlib.suppress(RegistryUnavailableError))
                await store.claim(service.name)
        leases = StreamLeases(
            store,
            worker_id=worker_id,
            max_streams=service.max_streams_per_worker,
            ttl_seconds=service.lease_seconds,
        )
        policy = SourcePolicy(service)
        egress = stack.enter_context(Egress(policy, verify_tls=settings.decode.verify_tls))
        waiting, counters = WaitingSenders(), SenderCounters()
        hub = _open_webrtc(settings, stack, waiting=waiting, counters=counters)
        parts = MeasuredStreamFactory(
            WorkerStreamFactory(settings, models=models, policy=policy, egress=egress, senders=waiting, tracer=tracer),
            collector=collector,
        )
        timeouts = (settings.decode.open_timeout_seconds, settings.decode.read_timeout_seconds)
        host = StreamHost(
            parts,
            sink=sink,
            worker_id=worker_id,
            send_preview=store.publish,
            blocked_seconds=max(BLOCKED_SECONDS, 2 * max(timeouts)),
        )
        worker = StreamWorker(
            store,
            leases=leases,
            host=host,
            worker_id=worker_id,
            heartbeat_seconds=service.heartbeat_seconds,
        )
        inlets = PictureInlets(
            store,
            waiting=waiting,
            counters=counters,
            max_senders=service.max_pushed_streams,
            max_pixels=settings.decode.max_frame_pixels,
            stall_seconds=settings.decode.read_timeout_seconds,
        )
        metrics = WorkerMetrics(
            collector,
            worker=worker,
            host=host,
            leases=leases,
            max_streams=service.max_streams_per_worker,
            senders=counters,
            num_senders=lambda: {"webrtc": 0 if hub is None else hub.num_sessions, "pictures": len(inlets)},
        )
        loop = MetricsLoop(
            worker_id,
            metrics.collect,
            interval_seconds=settings.metrics.interval_seconds,
            store=store,
            record=record,
        )
        stack.push_async_callback(inlets.close)
        await stack.enter_async_context(
            OfferDesk(
                store,
                hub=hub,
                inlets=inlets,
                worker_id=worker_id,
                counters=counters,
                is_ready=host.awaits_sender,
            )
        )
        running = asyncio.create_task(worker.run(), name=f"worker {worker_id}")
        measuring = asyncio.create_task(loop.run(), name=f"metrics of {worker_id}")
        try:
            yield worker
        finally:
            measuring.cancel()
            await worker.drain(timeout_seconds=service.drain_seconds)
            await running
