"""What the HTTP interface works with: opened when its server starts, closed when it ends."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, ParamSpec, Self, TypeVar

from fastapi import Depends, Path, Request

from emostream.config import Settings
from emostream.domain.model_manifest import ModelManifest, load_manifest
from emostream.pipeline.build import Models, load_models
from emostream.pipeline.pictures import ClassifiedPicture, classify_picture_content
from emostream.service.egress.fetch import fetch
from emostream.service.egress.policy import SourcePolicy
from emostream.service.registry.jobs import JobRegistry
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.records import RegistryView
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry, StreamStatus
from emostream.vision.classify.engines import model_path

_MAX_RETRY_SECONDS = 1.0  # a caller waits; 503 tells it to come again
_MAX_PICTURES_AT_ONCE = 2

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waits:
    """How long answers wait for streams.

    Attributes:
        check_seconds: how often a viewer of a stream that stands still checks whether it is over.
        one_picture_seconds: limit of the wait for one picture.
        idle_seconds: how often an idle connection of events is written to, so that dead ones are noticed, and its end
            is checked.
    """

    check_seconds: float = 2.0
    one_picture_seconds: float = 5.0
    idle_seconds: float = 5.0


class ApiContext:
    """An async context manager.

    Args:
        settings: all settings.
        redis_url: registry and events.
        waits: how long answers wait for streams.
    """

    def __init__(self, settings: Settings, *, redis_url: str, waits: Waits | None = None) -> None:
        self.settings = settings
        self.redis_url = redis_url
        self.waits = waits or Waits()
        self.policy = SourcePolicy(settings.service)
        self._models: Models | None = None
        self._loading = asyncio.Lock()
        self._pictures = asyncio.Semaphore(_MAX_PICTURES_AT_ONCE)
        self._threads = ThreadPoolExecutor(settings.service.max_requests, "emostream-request")
        self._looks = asyncio.Lock()
        self._next_look: asyncio.Task[RegistryView] | None = None

    async def __aenter__(self) -> Self:
        """Connect at the first call."""
        self.store = RegistryStore(
            self.settings.publish, redis_url=self.redis_url, max_retry_seconds=_MAX_RETRY_SECONDS
        )
        self.jobs = JobRegistry(self.store)
        service = self.settings.service
        self.registry = StreamRegistry(
            self.store, max_streams=service.max_streams, max_streams_per_owner=service.max_streams_per_token
        )
        self._looking = StreamLeases(self.store, worker_id="api", max_streams=0, ttl_seconds=1.0)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close everything."""
        await self.store.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._models is not None:
            self._models.close()

    async def look(self) -> RegistryView:
        """The registry, not older than this call; raises `RegistryUnavailableError`.

        Calls that come while another one is under way share the next one.
        """
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look())
            self._next_look.add_done_callback(_note_error)
        return await asyncio.shield(self._next_look)

    async def _look(self) -> RegistryView:
        async with self._looks:
            self._next_look = None  # later callers may have changed what is read now
            return await self._looking.look()

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that blocks, for example for DNS. Each request may have a thread, so none waits for another's
        name server or file server."""
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def status(self, stream_id: str) -> StreamStatus:
        """How a stream is doing; raises `UnknownStreamError`, `RegistryUnavailableError`."""
        return await self.registry.status(stream_id, await self.look())

    async def is_over(self, stream_id: str) -> bool:
        """Whether a stream has ended for good, or is not wanted any more; raises `RegistryUnavailableError`."""
        return await self.are_over([stream_id])

    async def are_over(self, stream_ids: Collection[str]) -> bool:
        """The same for all of several streams."""
        view = await self.look()
        return all(
            name in view.finished or (name not in view.records and name not in view.unreadable) for name in stream_ids
        )

    def manifest(self) -> ModelManifest:
        """Of the emotion model that is in use; raises `ModelError`."""
        return load_manifest(model_path(self.settings.classify))

    async def fetch_picture(self, url: str) -> bytes:
        """The content behind an untrusted URL. See `fetch`."""
        return await self.in_thread(
            fetch,
            url,
            policy=self.policy,
            max_bytes=self.settings.service.max_body_bytes,
            timeout_seconds=self.settings.decode.open_timeout_seconds,
        )

    async def classify_picture(self, content: bytes) -> ClassifiedPicture:
        """See `classify_picture_content`; the models are loaded at the first picture."""
        async with self._loading:
            if self._models is None:
                self._models = await asyncio.to_thread(load_models, self.settings)
        # What is sent as a picture may be a list of other files.
        decode = self.settings.decode.model_copy(update={"references": "none"})
        settings = self.settings.model_copy(update={"decode": decode})
        async with self._pictures:
            return await classify_picture_content(content, settings=settings, models=self._models)


def _note_error(looking: asyncio.Task[RegistryView]) -> None:
    """Mark an error as retrieved: who waited for it may be gone."""
    if not looking.cancelled():
        looking.exception()


async def _context_of(request: Request) -> ApiContext:  # else it would run in a thread
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(_context_of)]
"""The context as an argument of a path's function."""

StreamId = Annotated[str, Path(max_length=64, description="Id of the stream.", examples=["door"])]
"""The id of a stream as a part of the path."""
