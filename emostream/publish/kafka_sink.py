"""Publishes events to Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.redact import redact, shown_address
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError, EventRejectedError, SinkUnavailableError
from emostream.publish.multi_host_url import parse_multi_host_url, tls_context
from emostream.publish.retry import with_retries
from emostream.wire.events import json_from_event, json_from_status, json_from_summary, json_from_voice

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

_Record = tuple[str, str, datetime, str]  # topic, key, time, JSON

_PORT = 9092
_OPTIONS = ("ssl_ca_certs", "sasl_mechanism", "compression", "idempotent")
_SHORTEST_REQUEST_SECONDS = 1.0
_LINGER_MS = 2  # gathers the events of one call into few requests


class KafkaSink:
    """One record per event, JSON: emotion events in `TOPIC`, status events in `TOPIC.status`, summary events in
    `TOPIC.summaries`.

    The key is the stream id, so the events of a stream stay in order in one partition; the time is the capture time.
    The producer is idempotent and waits for all replicas in sync (`acks=all`): returning means kept by the brokers, and
    its own repetitions double nothing. When no broker answers for `max_retry_seconds`, `SinkUnavailableError`; after
    that the same events may be there twice, and consumers tell them by epoch and frame index.

    Args:
        url: `kafka://user:password@host:9092,host2:9092/TOPIC`, or `kafka+ssl://` for TLS (`ssl_ca_certs=FILE`);
            options `sasl_mechanism` (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512), `compression` (gzip, lz4, snappy, zstd; the
            last three need their libraries) and `idempotent=no` for brokers that give no producer ids. The topic is
            `emostream.events` when there is none.
        connect_timeout_seconds: bound on one attempt to connect.
        max_retry_seconds: as above.

    Raises:
        ConfigError: the URL cannot be used, or aiokafka is not installed.
    """

    def __init__(self, url: str, *, connect_timeout_seconds: float = 5.0, max_retry_seconds: float = 30.0) -> None:
        self._where = f"Kafka at {shown_address(url)}"
        try:
            self._address = parse_multi_host_url(url, default_port=_PORT, known_options=_OPTIONS)
            self._tls = tls_context(self._address) if self._address.scheme == "kafka+ssl" else None
        except ValueError as exc:
            raise self._wrong(str(exc)) from exc
        self._topic = self._address.path or "emostream.events"
        self._connect_timeout_seconds = connect_timeout_seconds
        self._max_retry_seconds = max_retry_seconds
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()  # several streams may publish at once
        try:
            import aiokafka
        except ImportError as exc:
            raise ConfigError("Kafka needs aiokafka; install emostream with the extra `kafka`") from exc
        self._library = aiokafka

    def _wrong(self, problem: str) -> ConfigError:
        return ConfigError(
            f"{self._where}: {problem}; expected for example kafka://host:9092,host2:9092/emostream.events"
        )

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver emotion events, in order."""
        await self._send(
            [(self._topic, event.stream_id, event.captured_at, json_from_event(event)) for event in events]
        )

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver a status event."""
        await self._send([(f"{self._topic}.status", event.stream_id, event.at, json_from_status(event))])

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver a summary event."""
        await self._send([(f"{self._topic}.summaries", event.stream_id, event.ended_at, json_from_summary(event))])

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver a voice event."""
        await self._send([(f"{self._topic}.voice", event.stream_id, event.captured_at, json_from_voice(event))])

    async def close(self) -> None:
        """Flush and close the connections."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _send(self, records: Sequence[_Record]) -> None:
        async def attempt() -> None:
            try:
                await self._send_once(records)
            except (self._library.errors.KafkaError, OSError) as exc:
                raise self._translated(exc) from exc

        await with_retries(attempt, max_retry_seconds=self._max_retry_seconds)

    async def _send_once(self, records: Sequence[_Record]) -> None:
        async with self._starting:
            if self._producer is None:
                self._producer = await self._started()
            producer = self._producer
        try:
            waiting = [
                await producer.send(
                    topic, text.encode(), key=key.encode(), timestamp_ms=max(0, int(1000 * at.timestamp()))
                )
                for topic, key, at, text in records
            ]
            await asyncio.gather(*waiting)
        except (self._library.errors.KafkaError, OSError):
            await self._abandon(producer)
            raise

    async def _started(self) -> AIOKafkaProducer:
        producer = self._new_producer()
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    def _new_producer(self) -> AIOKafkaProducer:
        options: dict[str, Any] = {}
        if self._address.user is not None:
            options["sasl_mechanism"] = self._address.options.get("sasl_mechanism", "PLAIN")
            options["sasl_plain_username"] = self._address.user
            options["sasl_plain_password"] = self._address.password
        protocol = f"{'SASL_' if options else ''}{'PLAINTEXT' if self._tls is None else 'SSL'}"
        try:
            return self._library.AIOKafkaProducer(
                bootstrap_servers=[f"{host}:{port}" for host, port in self._address.nodes],
                security_protocol=protocol,
                ssl_context=self._tls,
                enable_idempotence=self._address.options.get("idempotent", "yes") != "no",
                acks="all",
                compression_type=self._address.options.get("compression"),
                linger_ms=_LINGER_MS,
                request_timeout_ms=int(1000 * max(self._max_retry_seconds, _SHORTEST_REQUEST_SECONDS)),
                **options,
            )
        except (ValueError, RuntimeError) as exc:
            raise self._wrong(str(exc)) from exc

    async def _abandon(self, producer: AIOKafkaProducer) -> None:
        # After a failure its state is unknown; the next call begins with a new producer, unless another stream that
        # failed on this one has done so already.
        is_abandoned = self._producer is not producer
        if is_abandoned:
            return
        self._producer = None
        try:
            await producer.stop()
        except self._library.errors.KafkaError:
            return  # the first failure says more

    def _translated(self, exc: Exception) -> ConfigError | SinkUnavailableError | EventRejectedError:
        errors = self._library.errors
        problem = redact(" ".join(str(exc).split())) or type(exc).__name__
        refused = (
            errors.AuthenticationFailedError,
            errors.SaslAuthenticationFailed,
            errors.TopicAuthorizationFailedError,
            errors.ClusterAuthorizationFailedError,
        )
        if isinstance(exc, refused):
            return ConfigError(f"{self._where} refused the login: {problem}; check user, password and rights")
        if isinstance(exc, errors.MessageSizeTooLargeError | errors.RecordTooLargeError | errors.InvalidTopicError):
            return EventRejectedError(f"{self._where} refused events: {problem}")
        return SinkUnavailableError(f"{self._where} cannot be reached: {problem}; check that the brokers run")


def open_kafka_sink(url: str, settings: PublishSettings) -> KafkaSink:
    """The sink of `kafka://…`; errors as of `KafkaSink`."""
    return KafkaSink(
        url,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        max_retry_seconds=settings.max_retry_seconds,
    )
