"""Stream workers over HTTP: what each of them runs."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from fastapi import FastAPI

from emostream.service.api.context import Context
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import HOSTS
from emostream.wire.http_models import WorkerView, problem_responses


def add_workers(app: FastAPI, *, reading: list[Any]) -> None:
    """The path `/v1/workers`."""

    @app.get("/v1/workers", dependencies=reading, tags=["workers"], responses=problem_responses())
    async def list_workers(context: Context) -> list[WorkerView]:
        """List living stream workers by id, with the streams that each of them runs."""
        view = await context.look()
        hosts = await context.store.hash_of(HOSTS)
        owned: dict[str, list[str]] = defaultdict(list)
        reports: dict[str, list[StreamReport]] = defaultdict(list)
        for status in await context.registry.statuses(view):
            if status.lease is None:
                continue
            owned[status.lease.worker_id].append(status.record.stream_id)
            if status.report is not None and status.report.epoch == status.lease.epoch:
                reports[status.lease.worker_id].append(status.report)
        return [
            WorkerView(
                id=worker_id,
                host=hosts[worker_id].decode(errors="replace") if worker_id in hosts else None,
                max_streams=worker.max_streams,
                num_streams=len(owned[worker_id]),
                is_draining=worker.is_draining,
                measured_fps=sum(report.measured_fps for report in reports[worker_id]),
                latency_ms=_mean_latency_ms(reports[worker_id]),
                stream_ids=owned[worker_id],
            )
            for worker_id, worker in sorted(view.workers.items())
        ]


def _mean_latency_ms(reports: list[StreamReport]) -> float | None:
    """Over all frames of the last seconds; None without frames."""
    known = [(report.latency_ms, report.measured_fps) for report in reports if report.latency_ms is not None]
    num_frames = sum(fps for _, fps in known)
    return sum(latency * fps for latency, fps in known) / num_frames if num_frames else None
