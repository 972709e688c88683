"""The sinks of a worker: Redis, with a spool of its own if configured, and further sinks from the settings."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from emostream.config import PublishSettings
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError, EmostreamError
from emostream.publish.registry import (
    OpenedFor,
    check_detached_sinks,
    kind_of_sink,
    open_detached_sinks,
    open_redis_sink,
    urls_of,
)
from emostream.publish.sink import EventSink
from emostream.publish.sink_group import SinkGroup
from emostream.publish.spool.sink import SpoolBusyError, SpoolSink, has_waiting, make_shared_folder

logger = logging.getLogger(__name__)

_DELIVERY_SECONDS = 60.0
_LEFTOVER_SECONDS = 5.0  # as long as a lease: before, the worker may still be replaced
_MAX_WORKERS_PER_MACHINE = 256


def open_worker_sink(
    settings: PublishSettings, *, redis_url: str, kind_of: Callable[[str], StreamKind], worker_id: str = "worker"
) -> SinkGroup:
    """Open the sinks for Redis and `publish.sinks`. They connect at the first event, Redis also at `check`.

    Sinks other than Redis do not delay the pipeline. Their events are stored before Redis has them: a worker that dies
    in between sends some again, and none is lost.

    Workers on one machine share `publish.spool_dir`: each uses the first folder in it that no living worker uses. So a
    worker that replaces a dead one delivers the events that were left undelivered; `deliver_leftovers` does so where no
    worker replaces it.

    Args:
        settings: sinks, time-outs, limits and the spool's folder.
        redis_url: the server.
        kind_of: stream id → live or file.
        worker_id: used in the names of this worker's files.

    Raises:
        ConfigError: a URL cannot be used, a package is missing, or a folder or file cannot be created.
    """
    own, to_redis = _redis_sink(settings, redis_url=redis_url, kind_of=kind_of)
    return SinkGroup([*open_detached_sinks(urls_of(own), OpenedFor(own, worker_id, kind_of)), to_redis])


def check_worker_sinks(settings: PublishSettings) -> None:
    """Check, before any worker starts, that the settings name sinks which can be opened.

    Raises:
        ConfigError: a URL cannot be used, or a package is missing.
    """
    check_detached_sinks(settings)


def _redis_sink(
    settings: PublishSettings, *, redis_url: str, kind_of: Callable[[str], StreamKind]
) -> tuple[PublishSettings, EventSink]:
    """The settings with this worker's own spool folder, and the sink."""
    if settings.spool_dir is None:
        return settings, open_redis_sink(settings, redis_url=redis_url)
    with contextlib.suppress(OSError):  # reported by `open_redis_sink`
        make_shared_folder(settings.spool_dir)
    for number in itertools.count():
        own = settings.model_copy(update={"spool_dir": settings.spool_dir / f"worker-{number}"})
        try:
            return own, open_redis_sink(own, redis_url=redis_url, kind_of=kind_of)
        except SpoolBusyError as exc:
            if number >= _MAX_WORKERS_PER_MACHINE:
                raise ConfigError(f"{number} workers already use the spool folder {settings.spool_dir}") from exc
    raise AssertionError("unreachable: the loop is infinite")


@contextlib.asynccontextmanager
async def deliver_leftovers(settings: PublishSettings, *, redis_url: str) -> AsyncIterator[None]:
    """While this is open, deliver to Redis and further sinks what dead workers of this machine left in their spools.

    Each folder is locked meanwhile, as its worker would: nothing is sent twice.
    """
    if settings.spool_dir is None:
        yield
        return
    stopped = asyncio.Event()
    work = _deliver_leftovers(settings, settings.spool_dir, redis_url, stopped=stopped)
    task = asyncio.create_task(work, name="leftover spools")
    try:
        yield
    finally:
        stopped.set()  # not cancelled: sinks that are being closed must be
        await task


async def _deliver_leftovers(
    settings: PublishSettings, shared: Path, redis_url: str, *, stopped: asyncio.Event
) -> None:
    while not stopped.is_set():
        for folder in sorted(shared.glob("worker-*")):
            try:
                if has_waiting(folder) and not stopped.is_set():
                    await _deliver(settings.model_copy(update={"spool_dir": folder}), redis_url, stopped=stopped)
            except (EmostreamError, OSError) as exc:
                logger.warning("cannot deliver what a dead worker left in %s: %s", folder, exc)
            except Exception:  # a defect of a sink must not end the delivery of other folders
                logger.exception("cannot deliver what a dead worker left in %s", folder)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEFTOVER_SECONDS):
                await stopped.wait()


async def _deliver(settings: PublishSettings, redis_url: str, *, stopped: asyncio.Event) -> None:
    """Deliver what lies in the folder of the settings, unless its worker lives, for a bounded time."""
    async with AsyncExitStack() as stack:
        try:
            to_redis = open_redis_sink(settings, redis_url=redis_url)
        except SpoolBusyError:
            return
        stack.push_async_callback(to_redis.close)
        urls = [url for url in urls_of(settings) if not kind_of_sink(url).is_file]
        opened = [to_redis, *open_detached_sinks(urls, OpenedFor(settings, "leftover"))]
        for sink in opened[1:]:
            stack.push_async_callback(sink.close)
        spools = [sink for sink in opened if isinstance(sink, SpoolSink)]
        if num_waiting := sum(spool.num_waiting for spool in spools):
            logger.info("delivering %d events that a dead worker left in %s", num_waiting, settings.spool_dir)

        async def drain_all() -> None:
            await asyncio.gather(*(spool.drain() for spool in spools))

        tasks = [asyncio.create_task(drain_all()), asyncio.create_task(_until(stopped))]
        # A sink may be away: after a while the other folders come.
        await asyncio.wait(tasks, timeout=_DELIVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until(event: asyncio.Event) -> None:
    await event.wait()
