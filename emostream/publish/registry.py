"""Finds a sink by its URL, built in or from an installed package (entry points `emostream.sinks`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import parse_qsl

from emostream.config import PublishSettings
from emostream.domain.address import AddressError, parse_address
from emostream.domain.redact import shown_address
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError
from emostream.publish.files.jsonl_sink import JsonlSink
from emostream.publish.files.parquet_sink import ParquetSink
from emostream.publish.kafka_sink import KafkaSink
from emostream.publish.mqtt_sink import MqttSink
from emostream.publish.redis.address import SCHEMES
from emostream.publish.redis.sink import RedisSink
from emostream.publish.sink import EventSink
from emostream.publish.spool.sink import SpoolSink
from emostream.publish.webhook_sink import WebhookSink

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


ENTRY_POINTS = "emostream.sinks"
"""The group under which packages name their sinks: URL scheme = factory."""

SinkFactory = Callable[[str, PublishSettings], EventSink]
"""Takes the whole URL and the settings; raises `ConfigError` when the URL cannot be used."""


def _redis(url: str, settings: PublishSettings) -> EventSink:
    return open_redis_sink(settings, redis_url=url)


def _jsonl(url: str, _: PublishSettings) -> EventSink:
    return JsonlSink.to_file(Path(url.partition(":")[2]), with_status=True)


def _parquet(url: str, _: PublishSettings) -> EventSink:
    return ParquetSink(Path(url.partition(":")[2]))


def _webhook(url: str, settings: PublishSettings) -> EventSink:
    try:
        address = parse_address(url.removeprefix("webhook+"))
    except AddressError as exc:
        raise ConfigError(f"webhook {shown_address(url)} is not usable: {exc}") from exc
    path, _, query = address.rest.partition("?")
    secret = dict(parse_qsl(query, keep_blank_values=True)).get("emostream_secret")
    if secret == "":
        raise ConfigError(
            f"webhook {shown_address(url)}: emostream_secret is empty; give one, or leave it out to sign nothing"
        )
    rest = "&".join(pair for pair in query.split("&") if not pair.startswith("emostream_secret="))
    target = replace(address, rest=f"{path}?{rest}" if rest else path)
    return WebhookSink(target.url, secret=secret, max_retry_seconds=settings.max_retry_seconds)


def _kafka(url: str, settings: PublishSettings) -> EventSink:
    return KafkaSink(
        url,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        max_retry_seconds=settings.max_retry_seconds,
    )


def _mqtt(url: str, settings: PublishSettings) -> EventSink:
    return MqttSink(
        url,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        max_retry_seconds=settings.max_retry_seconds,
    )


BUILT_IN: dict[str, SinkFactory] = {
    **dict.fromkeys(SCHEMES, _redis),
    "jsonl": _jsonl,
    "parquet": _parquet,
    "webhook+http": _webhook,
    "webhook+https": _webhook,
    "kafka": _kafka,
    "kafka+ssl": _kafka,
    "mqtt": _mqtt,
    "mqtts": _mqtt,
}


def open_sink(url: str, *, settings: PublishSettings) -> EventSink:
    """The sink that a URL names.

    Args:
        url: `redis://…`, `jsonl:FILE`, `parquet:FILE`, `webhook+https://…?emostream_secret=…`, `kafka://…/TOPIC`,
            `mqtt://…/PREFIX`, or the scheme of an installed package's sink.
        settings: time-outs and bounds.

    Raises:
        ConfigError: nobody knows the scheme, the package's sink cannot be loaded, or the URL cannot be used.
    """
    scheme = url.partition(":")[0].lower()
    if scheme in BUILT_IN:
        return BUILT_IN[scheme](url, settings)
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if scheme not in found:
        known = ", ".join(sorted({*BUILT_IN, *found}))
        raise ConfigError(f"no sink for {shown_address(url)}: its scheme is none of {known}; is the package installed?")
    try:
        factory: SinkFactory = found[scheme].load()
    except Exception as exc:
        raise ConfigError(f"the sink {scheme!r} of {found[scheme].value} cannot be loaded: {exc}") from exc
    return factory(url, settings)
