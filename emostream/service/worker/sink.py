"""The sinks of a worker: Redis, with a spool of its own if configured, and further sinks from the settings."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from emostream.config import PublishSettings
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError, EmostreamError
from emostream.publish.registry import (
    OpenedFor,
    check_detached_sinks,
    open_detached_sinks,
    open_redis_sink,
    urls_of,
)
from emostream.publish.sink import EventSink
from emostream.publish.sink_group import SinkGroup
from emostream.publish.spool.sink import SpoolBusyError, SpoolSink, has_waiting, make_shared_folder

logger = logging.getLogger(__name__)

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
    """While this is open, deliver to Redis what dead workers of this machine left in their spools.

    Each folder is locked meanwhile, as its worker would: nothing is sent twice. What waits for further sinks is left to
    the next worker that uses the folder.
    """
    if settings.spool_dir is None:
        yield
        return
    task = asyncio.create_task(_deliver_leftovers(settings, settings.spool_dir, redis_url), name="leftover spools")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _deliver_leftovers(settings: PublishSettings, shared: Path, redis_url: str) -> None:
    while True:
        for folder in sorted(shared.glob("worker-*")):
            try:
                if has_waiting(folder):
                    await _deliver(settings.model_copy(update={"spool_dir": folder}), redis_url)
            except (EmostreamError, OSError) as exc:
                logger.warning("cannot deliver what a dead worker left in %s: %s", folder, exc)
        await asyncio.sleep(_LEFTOVER_SECONDS)


async def _deliver(settings: PublishSettings, redis_url: str) -> None:
    try:
        sink = open_redis_sink(settings, redis_url=redis_url)
    except SpoolBusyError:  # its worker lives
        return
    assert isinstance(sink, SpoolSink)  # noqa: S101  # the settings name a folder
    logger.info("delivering %d events that a dead worker left in %s", sink.num_waiting, settings.spool_dir)
    async with sink:
        await sink.drain()
