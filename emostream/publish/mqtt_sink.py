"""Publishes events to an MQTT broker."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.redact import redact, shown_address
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError, SinkUnavailableError
from emostream.publish.multi_host_url import MultiHostUrl, parse_multi_host_url, tls_context
from emostream.publish.retry import with_retries
from emostream.wire.events import json_from_event, json_from_status, json_from_summary, json_from_voice

if TYPE_CHECKING:
    import aiomqtt

logger = logging.getLogger(__name__)

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_OPTIONS = ("qos", "ssl_ca_certs", "client_id")
_MAX_UNANSWERED = 1000  # messages on their way at once; the broker acknowledges each
_REFUSED_LOGIN = ("Bad user name or password", "Not authorized", "Bad username or password")


class MqttSink:
    """One message per event, JSON, at `PREFIX/events/STREAM`; status events at `PREFIX/status`, summary events at
    `PREFIX/summaries`.

    With `qos` 1 (the default) or 2 returning means acknowledged by the broker. When the connection breaks before that,
    the same messages are sent again, for `max_retry_seconds`: subscribers may get some twice, and tell them by epoch
    and frame index.

    Args:
        url: `mqtt://user:password@host:1883/PREFIX?qos=1`, or `mqtts://` for TLS (`ssl_ca_certs=FILE`). The prefix is
            `emostream` when there is none.
        connect_timeout_seconds: bound on connecting and on each acknowledgement.
        max_retry_seconds: keep trying for this long before `SinkUnavailableError`.

    Raises:
        ConfigError: the URL cannot be used, or aiomqtt is not installed.
    """

    def __init__(self, url: str, *, connect_timeout_seconds: float = 5.0, max_retry_seconds: float = 30.0) -> None:
        self._where = f"MQTT broker at {shown_address(url)}"
        self._address, self._tls = self._parsed(url)
        self._prefix = self._address.path or "emostream"
        self._qos = int(self._address.options.get("qos", "1"))
        self._timeout_seconds = connect_timeout_seconds
        self._max_retry_seconds = max_retry_seconds
        self._client: aiomqtt.Client | None = None
        self._connecting = asyncio.Lock()  # several streams may publish at once
        try:
            import aiomqtt
        except ImportError as exc:
            raise ConfigError("MQTT needs aiomqtt; install emostream with the extra `mqtt`") from exc
        self._library = aiomqtt

    def _parsed(self, url: str) -> tuple[MultiHostUrl, ssl.SSLContext | None]:
        try:
            default_port = _PORTS[url.partition(":")[0]]
            address = parse_multi_host_url(url, default_port=default_port, known_options=_OPTIONS)
            tls = tls_context(address) if address.scheme == "mqtts" else None
        except ValueError as exc:
            raise self._wrong(str(exc)) from exc
        if len(address.nodes) != 1:
            raise self._wrong("it names more than one broker")
        if "#" in address.path or "+" in address.path:
            raise self._wrong("the prefix holds a wildcard")
        if address.options.get("qos", "1") not in ("0", "1", "2"):
            raise self._wrong("qos is 0, 1 or 2")
        return address, tls

    def _wrong(self, problem: str) -> ConfigError:
        return ConfigError(
            f"{self._where}: {problem}; expected for example mqtt://user:password@host:1883/emostream?qos=1"
        )

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver emotion events, in order."""
        await self._send([(f"events/{event.stream_id}", json_from_event(event)) for event in events])

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver a status event."""
        await self._send([("status", json_from_status(event))])

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver a summary event."""
        await self._send([("summaries", json_from_summary(event))])

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver a voice event."""
        await self._send([(f"voice/{event.stream_id}", json_from_voice(event))])

    async def close(self) -> None:
        """Say goodbye to the broker."""
        if self._client is not None:
            await self._abandon(self._client)

    async def _abandon(self, client: aiomqtt.Client) -> None:
        if self._client is client:  # else another stream that failed on it has done so already
            self._client = None
            try:
                await client.__aexit__(None, None, None)
            except self._library.MqttError as exc:
                logger.info("%s: %s", self._where, exc)  # it was gone already, and nothing waits

    async def _send(self, messages: Sequence[tuple[str, str]]) -> None:
        async def attempt() -> None:
            try:
                await self._send_once(messages)
            except (self._library.MqttError, OSError) as exc:
                raise self._translated(exc) from exc

        await with_retries(attempt, max_retry_seconds=self._max_retry_seconds)

    def _translated(self, exc: Exception) -> ConfigError | SinkUnavailableError:
        problem = redact(str(exc))
        if any(text in problem for text in _REFUSED_LOGIN):
            return ConfigError(f"{self._where} refused the login; check user and password in the URL")
        return SinkUnavailableError(f"{self._where} cannot be reached: {problem}; check that it runs")

    async def _send_once(self, messages: Sequence[tuple[str, str]]) -> None:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connected()
            client = self._client
        try:
            for start in range(0, len(messages), _MAX_UNANSWERED):
                part = messages[start : start + _MAX_UNANSWERED]
                # Each is handed to the network when its task first runs, so they leave in this order.
                await asyncio.gather(
                    *(client.publish(f"{self._prefix}/{topic}", text, qos=self._qos) for topic, text in part)
                )
        except (self._library.MqttError, OSError):
            await self._abandon(client)
            raise

    async def _connected(self) -> aiomqtt.Client:
        ((host, port),) = self._address.nodes
        client = self._library.Client(
            host,
            port,
            username=self._address.user,
            password=self._address.password,
            identifier=self._address.options.get("client_id"),
            timeout=self._timeout_seconds,
            tls_context=self._tls,
            max_inflight_messages=_MAX_UNANSWERED,
            max_queued_outgoing_messages=0,
        )
        await client.__aenter__()
        return client


def open_mqtt_sink(url: str, settings: PublishSettings) -> MqttSink:
    """The sink of `mqtt://…`; errors as of `MqttSink`."""
    return MqttSink(
        url,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        max_retry_seconds=settings.max_retry_seconds,
    )
