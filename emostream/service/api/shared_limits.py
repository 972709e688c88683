"""The limits of a token over all processes of the HTTP interface, counted in Redis.

Each process has its own limits first, which cost nothing. Where several processes answer, a request with a token also
takes its turn and its place in Redis. Where Redis does not answer at once, a process goes on with its own limits alone:
a token then has them once per process, and nobody is kept waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import uuid
from collections.abc import AsyncIterator

from emostream.config import PublishSettings
from emostream.errors import EmostreamError
from emostream.service.registry.store import RegistryStore
from emostream.wire.keys import registry_key

logger = logging.getLogger(__name__)

PROCESSES = registry_key("interfaces")
"""Sorted set: living processes of the interface, by the time at which they count as dead."""

_BEAT_SECONDS = 2.0
_DEAD_SECONDS = 10.0  # a process that says nothing for so long gives the places of its requests back
_ANSWER_SECONDS = 0.25  # a request waits no longer for Redis
_PAUSE_SECONDS = 2.0  # after Redis did not answer


class SharedLimits:
    """Asks Redis while it is `opened`; before and after, and alone, it allows everything.

    Args:
        beat_seconds: interval at which a process says that it lives.
        dead_seconds: after which it counts as dead.
    """

    def __init__(self, *, beat_seconds: float = _BEAT_SECONDS, dead_seconds: float = _DEAD_SECONDS) -> None:
        self._beat_seconds = beat_seconds
        self._dead_ms = round(dead_seconds * 1000)
        self._process_id = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._held: dict[str, str] = {}  # requests in progress: id → key of the client's places
        self._told: set[str] = set()  # of these, those that Redis knows
        self._releasing: set[asyncio.Task[None]] = set()
        self._store: RegistryStore | None = None
        self._paused_until = 0.0
        self.num_processes = 1
        """Living processes of the interface, this one included, as far as it knows."""

    @contextlib.asynccontextmanager
    async def opened(self, settings: PublishSettings, *, redis_url: str) -> AsyncIterator[None]:
        """Take part, while the context is open."""
        async with RegistryStore(settings, redis_url=redis_url, max_retry_seconds=0) as store:
            self._store = store
            beating = asyncio.create_task(self._beat_on(store), name="shared limits")
            try:
                yield
            finally:
                beating.cancel()
                await asyncio.wait([beating, *self._releasing])
                with contextlib.suppress(EmostreamError, TimeoutError):
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await store.drop_member(PROCESSES, self._process_id)
                self._store = None

    async def wait_seconds(self, client: str, *, per_second: float, burst: float) -> float:
        """0 when the client may ask now, which is counted; else how long until it may."""
        key = registry_key(f"limits:turn:{client}")
        waited = await self._ask("limits_turn", [key, repr(per_second), repr(max(1.0, burst))])
        return 0.0 if waited is None else waited / 1000

    @contextlib.asynccontextmanager
    async def place(self, client: str, *, max_places: int) -> AsyncIterator[bool]:
        """A place while the context is open; whether there was one."""
        key, request = registry_key(f"limits:places:{client}"), f"{self._process_id}:{next(self._numbers)}"
        answer = await self._ask("limits_place", [key, request, max_places, self._dead_ms])
        if answer == 0:
            yield False
            return
        if answer is not None:
            self._told.add(request)
        self._held[request] = key  # also where Redis was not asked: it is told with the next beat
        try:
            yield True
        finally:
            del self._held[request]
            if request in self._told:
                self._told.discard(request)
                self._release_later(key, request)

    @property
    def _is_asked(self) -> bool:
        return self.num_processes > 1 and asyncio.get_running_loop().time() >= self._paused_until

    async def _ask(self, script: str, arguments: list[str | int]) -> int | None:
        """What Redis answers; None where it is not asked, or says nothing."""
        store = self._store
        if store is None or not self._is_asked:
            return None
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return int(await store.run(script, arguments))
        except (EmostreamError, TimeoutError) as exc:
            self._paused_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
            logger.warning("limits of tokens are those of each process for now: %s", exc or "Redis does not answer")
            return None

    def _release_later(self, key: str, request: str) -> None:
        if (store := self._store) is not None:
            releasing = asyncio.create_task(self._release(store, key, request))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)

    @staticmethod
    async def _release(store: RegistryStore, key: str, request: str) -> None:
        with contextlib.suppress(EmostreamError, TimeoutError):  # it is free as soon as it is kept no longer
            async with asyncio.timeout(_ANSWER_SECONDS):
                await store.drop_member(key, request)

    async def _beat_on(self, store: RegistryStore) -> None:
        while True:
            with contextlib.suppress(EmostreamError, TimeoutError):
                await self._beat(store)
            await asyncio.sleep(self._beat_seconds)

    async def _beat(self, store: RegistryStore) -> None:
        held = dict(self._held)
        self._told.update(held)
        pairs = [text for request, key in held.items() for text in (key, request)]
        async with asyncio.timeout(self._dead_ms / 1000):
            living = await store.run("limits_beat", [PROCESSES, self._process_id, self._dead_ms, *pairs])
        self.num_processes = int(living)
