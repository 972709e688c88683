"""Settings → the sink for Redis that they ask for."""

from __future__ import annotations

from collections.abc import Callable

from emostream.config import PublishSettings
from emostream.publish.redis_sink import RedisSink
from emostream.publish.spool import SpoolSink
from emostream.stream import StreamKind

# With a spool behind it, waiting longer for an absent server only holds up the pipeline.
_MAX_RETRY_SECONDS_BEFORE_SPOOL = 1.0


def open_redis_sink(
    settings: PublishSettings, *, redis_url: str, kind_of: Callable[[str], StreamKind] | None = None
) -> RedisSink | SpoolSink:
    """A sink for Redis, with a spool before it where the settings name a folder for it. Connects at the first event.

    Args:
        settings: time-outs, bounds and the spool's folder.
        redis_url: of a server, servers behind Sentinels, or a cluster.
        kind_of: live or file, by stream id: which streams may lose events when the spool is full; None means none.

    Raises:
        ConfigError: the URL is not one of Redis, or the folder cannot be used.
    """
    if settings.spool_dir is None:
        return RedisSink(settings, redis_url=redis_url)
    retry_seconds = min(settings.max_retry_seconds, _MAX_RETRY_SECONDS_BEFORE_SPOOL)
    sink = RedisSink(settings.model_copy(update={"max_retry_seconds": retry_seconds}), redis_url=redis_url)
    return SpoolSink(sink, folder=settings.spool_dir, max_bytes_per_stream=settings.spool_max_bytes, kind_of=kind_of)
