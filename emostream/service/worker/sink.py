"""Where the events of a worker go: to Redis, and beside it to the sinks of the settings."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable

from emostream.config import PublishSettings
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError
from emostream.files import make_private_folder
from emostream.publish.registry import OpenedFor, open_detached_sinks, open_redis_sink, urls_of
from emostream.publish.sink import EventSink
from emostream.publish.sink_group import SinkGroup
from emostream.publish.spool.sink import SpoolBusyError

_MAX_WORKERS_PER_MACHINE = 256


def open_worker_sink(
    settings: PublishSettings, *, redis_url: str, kind_of: Callable[[str], StreamKind], worker_id: str = "worker"
) -> SinkGroup:
    """A sink for Redis and `publish.sinks`. Connects at the first event, to Redis also at `check`.

    Sinks beside Redis hold nothing up. Events are kept for them before Redis has them: a worker that dies between the
    two sends some again, and none is missing.

    Workers of one machine share `publish.spool_dir`: each takes the first folder in it that no living worker uses. So a
    worker that starts in place of a dead one finds what that one could not deliver, and sends it.

    Args:
        settings: sinks, time-outs, bounds and the spool's folder.
        redis_url: the server.
        kind_of: live or file, by stream id.
        worker_id: names files of this worker.

    Raises:
        ConfigError: a URL cannot be used, a package is missing, or a folder or file cannot be made.
    """
    own, to_redis = _redis_sink(settings, redis_url=redis_url, kind_of=kind_of)
    return SinkGroup([*open_detached_sinks(urls_of(own), OpenedFor(own, worker_id, kind_of)), to_redis])


def _redis_sink(
    settings: PublishSettings, *, redis_url: str, kind_of: Callable[[str], StreamKind]
) -> tuple[PublishSettings, EventSink]:
    """The sink, and the settings with the folder for spools that is this worker's own."""
    if settings.spool_dir is None:
        return settings, open_redis_sink(settings, redis_url=redis_url)
    with contextlib.suppress(OSError):  # told below
        make_private_folder(settings.spool_dir, is_ours=lambda name: name.startswith("worker-"))
    for number in itertools.count():
        own = settings.model_copy(update={"spool_dir": settings.spool_dir / f"worker-{number}"})
        try:
            return own, open_redis_sink(own, redis_url=redis_url, kind_of=kind_of)
        except SpoolBusyError as exc:
            if number >= _MAX_WORKERS_PER_MACHINE:
                raise ConfigError(f"{number} workers spool to {settings.spool_dir} already") from exc
    raise AssertionError("the numbers are endless")
