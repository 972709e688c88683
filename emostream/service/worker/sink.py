"""Where the events of a worker go: to Redis, with a spool of its own before it where the settings ask for one."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable

from emostream.config import PublishSettings
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError
from emostream.files import make_private_folder
from emostream.publish.redis.sink import RedisSink
from emostream.publish.registry import open_redis_sink
from emostream.publish.spool.sink import SpoolBusyError, SpoolSink

_MAX_WORKERS_PER_MACHINE = 256


def open_worker_sink(
    settings: PublishSettings, *, redis_url: str, kind_of: Callable[[str], StreamKind]
) -> RedisSink | SpoolSink:
    """A sink for Redis. Connects at the first event.

    Workers of one machine share `publish.spool_dir`: each takes the first folder in it that no living worker uses. So a
    worker that starts in place of a dead one finds what that one could not deliver, and sends it.

    Args:
        settings: time-outs, bounds and the spool's folder.
        redis_url: the server.
        kind_of: live or file, by stream id.

    Raises:
        ConfigError: the URL is not one of Redis, or the folder cannot be used.
    """
    if settings.spool_dir is None:
        return open_redis_sink(settings, redis_url=redis_url)
    with contextlib.suppress(OSError):  # told below
        make_private_folder(settings.spool_dir, is_ours=lambda name: name.startswith("worker-"))
    for number in itertools.count():
        own = settings.model_copy(update={"spool_dir": settings.spool_dir / f"worker-{number}"})
        try:
            return open_redis_sink(own, redis_url=redis_url, kind_of=kind_of)
        except SpoolBusyError as exc:
            if number >= _MAX_WORKERS_PER_MACHINE:
                raise ConfigError(f"{number} workers spool to {settings.spool_dir} already") from exc
    raise AssertionError("the numbers are endless")
