"""Publishes the metrics of a process at regular intervals.

Processes write their metric values to Redis, from where the API serves those of all living processes: one address for
the whole service, with any number of workers (docs/decisions/0006). Under Ray a recorder also passes them to Ray's
metrics.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from emostream.errors import RegistryError
from emostream.service.registry.store import RegistryStore
from emostream.telemetry.values import MetricFamily, json_from_families
from emostream.wire.keys import registry_key

logger = logging.getLogger(__name__)

_NUM_INTERVALS_KEPT = 5  # values of a process that is silent for longer expire

Recorder = Callable[[Sequence[MetricFamily]], None]
"""Receives all metric values of a process at every interval."""


class MetricsLoop:
    """Publishes metrics until `run` is cancelled.

    Args:
        process_id: identifies this process within the service.
        collect: returns the current values; raises `RegistryError` while there are none.
        interval_seconds: pause between collections.
        store: connection to the registry, from where the API serves the values; None does not write them.
        record: also receives the values; under Ray it passes them to Ray's metrics.
    """

    def __init__(
        self,
        process_id: str,
        collect: Callable[[], Awaitable[Sequence[MetricFamily]]],
        *,
        interval_seconds: float,
        store: RegistryStore | None = None,
        record: Recorder | None = None,
    ) -> None:
        self._process_id = process_id
        self._collect = collect
        self._interval_seconds = interval_seconds
        self._store = store
        self._record = record

    async def run(self) -> None:
        """Collect and publish in a loop."""
        while True:
            try:
                families = await self._collect()
                if self._record is not None:
                    self._record(families)
                if self._store is not None:
                    seconds = max(10, round(_NUM_INTERVALS_KEPT * self._interval_seconds))
                    await put_metrics(self._store, self._process_id, families, seconds=seconds)
            except RegistryError as exc:
                logger.debug("metrics of %s are not written: %s", self._process_id, exc)
            except Exception:  # a failure of the metrics must not end what they measure
                logger.exception("%s: internal error in its metrics", self._process_id)
            await asyncio.sleep(self._interval_seconds)


async def put_metrics(store: RegistryStore, process_id: str, families: Sequence[MetricFamily], *, seconds: int) -> None:
    """Write a process's metric values, which expire after `seconds`; errors as in `RegistryStore.run`."""
    await store.put(_key_of(process_id), json_from_families(families), seconds=seconds)


async def metric_values_of(store: RegistryStore, process_ids: Sequence[str]) -> dict[str, bytes]:
    """Process id → its metric values as JSON, if it wrote any recently; errors as in `RegistryStore.run`."""
    found = await store.values_of([_key_of(process_id) for process_id in process_ids])
    return {process_id: text for process_id, text in zip(process_ids, found, strict=True) if text is not None}


def _key_of(process_id: str) -> str:
    return registry_key(f"metrics:{process_id}")
