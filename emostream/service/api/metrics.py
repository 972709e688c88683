"""`/metrics` of the HTTP interface: the figures of all workers at one address."""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response

from emostream.domain.stream import StreamState
from emostream.service.api.context import ApiContext
from emostream.service.registry.metrics import MetricsLoop, Recorder, metric_values_of
from emostream.service.registry.records import RegistryView
from emostream.telemetry.metrics import BUILD_INFO, STREAMS, WANTED_STREAMS
from emostream.telemetry.prometheus import CONTENT_TYPE, Process, exposition
from emostream.telemetry.values import MetricFamily, MetricValues, families_from_json

INTERFACE = "interface"
"""In place of a worker's id."""


def add_metrics(app: FastAPI, *, reading: Sequence[Any]) -> None:
    """Add the path. Its labels contain stream ids, so it needs the scope `read`."""

    @app.get("/metrics", dependencies=list(reading), tags=["health"], response_class=Response)
    async def metrics(request: Request) -> Response:
        """Metrics of all workers and shared classifiers in the Prometheus text format, labelled with `worker_id`."""
        context: ApiContext = request.app.state.context
        view = await context.look()
        found = await metric_values_of(context.store, [*sorted(view.workers), *await context.store.helpers()])
        processes: list[Process] = [({"worker_id": INTERFACE}, interface_metrics(view).families())]
        processes += [({"worker_id": worker_id}, families_from_json(text)) for worker_id, text in found.items()]
        return Response(exposition(processes), media_type=CONTENT_TYPE)


@contextlib.asynccontextmanager
async def recording(context: ApiContext, record: Recorder | None) -> AsyncIterator[None]:
    """Tell a recorder again and again what only the interface knows, until the context is left.

    Under Ray this is how the numbers of streams that failed, and of those that no worker has, get to Ray's metrics also
    when no worker lives.
    """
    if record is None:
        yield
        return

    async def collect() -> Sequence[MetricFamily]:
        return interface_metrics(await context.look()).families()

    loop = MetricsLoop(INTERFACE, collect, interval_seconds=context.settings.metrics.interval_seconds, record=record)
    measuring = asyncio.create_task(loop.run(), name="metrics of the interface")
    try:
        yield
    finally:
        measuring.cancel()
        await asyncio.wait([measuring])


def interface_metrics(view: RegistryView) -> MetricValues:
    """What there is to say also when no worker lives; every process of the interface says the same."""
    metric_values = MetricValues()
    metric_values.set(BUILD_INFO, 1, version=version("emostream"), python=platform.python_version())
    metric_values.set(WANTED_STREAMS, len(view.unfinished_ids()))
    states = Counter(state for stream_id, state in view.finished.items() if stream_id in view.records)
    metric_values.replace(STREAMS, [({"state": state.value}, states[state]) for state in StreamState if state.is_final])
    return metric_values
