"""Finds a sink by its URL, built in or from an installed package (entry points `emostream.sinks`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import parse_qsl

from emostream.address import AddressError, parse_address
from emostream.config import PublishSettings
from emostream.errors import ConfigError
from emostream.publish.jsonl_sink import JsonlSink
from emostream.publish.kafka_sink import KafkaSink
from emostream.publish.mqtt_sink import MqttSink
from emostream.publish.open_sink import open_redis_sink
from emostream.publish.parquet_sink import ParquetSink
from emostream.publish.redis_address import SCHEMES
from emostream.publish.sink import EventSink
from emostream.publish.webhook_sink import WebhookSink
from emostream.redact import shown_address

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
