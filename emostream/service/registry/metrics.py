"""How the figures of a process reach whoever shows them, again and again.

Processes write their figures into Redis, where the HTTP interface finds those of all that live: one address for the
whole service, also where workers come and go (docs/decisions/0006). A recorder gets them as well; under Ray it hands
them to Ray's own metrics.
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

_NUM_INTERVALS_KEPT = 5  # figures of a process that is silent for longer are not shown any more

Recorder = Callable[[Sequence[MetricFamily]], None]
"""Takes all figures of a process at every interval."""


class MetricsLoop:
    """Await `run` beside what is measured; it ends by being cancelled.

    Args:
        process_id: tells this process from others of the service.
        collect: the figures now; raises `RegistryError` where there are none at the moment.
        interval_seconds: pause between looks.
        store: connection to the registry, where the HTTP interface finds the figures; None leaves them out there.
        record: gets the figures as well; under Ray it hands them to Ray's own metrics.
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
        """Look, tell, pause."""
        while True:
            try:
                families = await self._collect()
                if self._record is not None:
                    self._record(families)
                if self._store is not None:
                    seconds = max(10, round(_NUM_INTERVALS_KEPT * self._interval_seconds))
                    await put_metrics(self._store, self._process_id, families, seconds=seconds)
            except RegistryError as exc:
                logger.debug("metrics of %s are not shown by the interface: %s", self._process_id, exc)
            except Exception:  # the top of this loop: measuring must not end what is measured
                logger.exception("%s: internal error in its metrics", self._process_id)
            await asyncio.sleep(self._interval_seconds)


async def put_metrics(store: RegistryStore, process_id: str, families: Sequence[MetricFamily], *, seconds: int) -> None:
    """Show the figures of a process at the HTTP interface for so long; errors as in `RegistryStore.run`."""
    await store.put(_key_of(process_id), json_from_families(families), seconds=seconds)


async def metric_values_of(store: RegistryStore, process_ids: Sequence[str]) -> dict[str, bytes]:
    """The figures that processes wrote lately, as JSON, by their id; errors as in `RegistryStore.run`."""
    found = await store.values_of([_key_of(process_id) for process_id in process_ids])
    return {process_id: text for process_id, text in zip(process_ids, found, strict=True) if text is not None}


def _key_of(process_id: str) -> str:
    return registry_key(f"metrics:{process_id}")
