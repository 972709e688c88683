"""`/metrics` of the HTTP interface: the figures of all workers at one address."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response

from emostream.exposition import CONTENT_TYPE, Process, exposition
from emostream.figures import Figures, families_from_json
from emostream.metrics import BUILD_INFO, STREAMS, WANTED_STREAMS
from emostream.service.api_context import ApiContext
from emostream.service.record import RegistryView
from emostream.service.worker_metrics import metrics_of_workers
from emostream.stream import StreamState

_INTERFACE = "interface"  # in place of a worker's id


def add_metrics(app: FastAPI, *, reading: Sequence[Any]) -> None:
    """Add the path; names of streams are in what it tells, so it needs the right to read."""

    @app.get("/metrics", dependencies=list(reading), tags=["health"], response_class=Response)
    async def metrics(request: Request) -> Response:
        """For Prometheus: the figures of every worker that lives, told apart by `worker_id`."""
        context: ApiContext = request.app.state.context
        view = await context.look()
        found = await metrics_of_workers(context.store, sorted(view.workers))
        processes: list[Process] = [({"worker_id": _INTERFACE}, _own_figures(view).families())]
        processes += [({"worker_id": worker_id}, families_from_json(text)) for worker_id, text in found.items()]
        return Response(exposition(processes), media_type=CONTENT_TYPE)


def _own_figures(view: RegistryView) -> Figures:
    """What there is to say also when no worker lives."""
    figures = Figures()
    figures.set(BUILD_INFO, 1, version=version("emostream"), python=platform.python_version())
    figures.set(WANTED_STREAMS, len(view.unfinished_ids()))
    states = Counter(state for stream_id, state in view.finished.items() if stream_id in view.records)
    figures.replace(STREAMS, [({"state": state.value}, states[state]) for state in StreamState if state.is_final])
    return figures
