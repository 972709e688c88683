"""Events to a real MQTT broker (mosquitto): the contract, a broker that restarts, login, TLS, wrong URLs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from emostream.errors import ConfigError, SinkUnavailableError
from emostream.publish.mqtt_sink import MqttSink
from emostream.wire.events import event_from_json, status_from_json
from tests.ports import unused_port
from tests.publish.redis.test_servers import make_certificate
from tests.publish.samples import STATUS, events_of

BROKER = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(BROKER is None, reason="mosquitto is not installed (tests/install-debian-packages.sh)"),
]


class Broker:
    """A mosquitto on two ports, one with TLS; users `door` with the password `open`."""

    def __init__(self, folder: Path) -> None:
        make_certificate(folder)
        folder.chmod(0o755)
        self.ca = folder / "cert.pem"
        self.port, self.tls_port = unused_port(), unused_port()
        (folder / "users").touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", folder / "users", "door", "open"], check=True, capture_output=True)
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"user root\nlistener {self.port} 127.0.0.1\nlistener {self.tls_port} 127.0.0.1\n"
            f"certfile {folder}/cert.pem\nkeyfile {folder}/key.pem\n"
            f"allow_anonymous false\npassword_file {folder}/users\nmax_queued_messages 0\n",
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://door:open@127.0.0.1:{self.port}/cameras"

    def start(self) -> None:
        assert BROKER is not None
        self._process = subprocess.Popen([BROKER, "-c", self._config], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.02)
        pytest.fail("mosquitto did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("mqtt"))
    broker.start()
    yield broker
    broker.stop()


class Subscriber:
    """What arrives under a topic, from the moment it is entered."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._client = aiomqtt.Client("127.0.0.1", broker.port, username="door", password="open")
        self._topic = topic
        self.messages: list[tuple[str, str]] = []

    async def __aenter__(self) -> Subscriber:
        await self._client.__aenter__()
        await self._client.subscribe(self._topic, qos=1)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._client.__aexit__(None, None, None)

    async def _read(self) -> None:
        async for message in self._client.messages:
            assert isinstance(message.payload, bytes)
            self.messages.append((str(message.topic), message.payload.decode()))

    async def until(self, num_messages: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(20):
            while len(self.messages) < num_messages:
                await asyncio.sleep(0.01)
        return self.messages


async def test_topics_and_status(broker: Broker) -> None:
    sink = MqttSink(f"mqtt://door:open@127.0.0.1:{broker.port}?qos=2")
    async with Subscriber(broker, "emostream/#") as subscriber:
        await sink.publish(events_of("hall", range(2)))
        await sink.publish_status(replace(STATUS, stream_id="hall"))
        messages = await subscriber.until(3)
    assert [topic for topic, _ in messages] == ["emostream/events/hall"] * 2 + ["emostream/status"]
    assert status_from_json(messages[-1][1]).stream_id == "hall"
    await sink.close()


async def test_streams_that_begin_together_share_one_connection(broker: Broker) -> None:
    sink = MqttSink(f"{broker.url}?client_id=one")  # a second connection of this name would end the first
    async with Subscriber(broker, "cameras/events/#") as subscriber:
        await asyncio.gather(*(sink.publish(events_of(name, range(20))) for name in ("hall", "yard", "gate")))
        messages = await subscriber.until(60)
        await sink.close()
        gc.collect()  # a client that was forgotten would warn
    for name in ("hall", "yard", "gate"):
        indexes = [event_from_json(text).frame_index for topic, text in messages if topic.endswith(name)]
        assert indexes == list(range(20))


async def test_goes_on_when_the_broker_was_away(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    sink = MqttSink(broker.url, max_retry_seconds=30)
    try:
        await sink.publish(events_of("door", range(5)))
        broker.stop()
        waiting = asyncio.create_task(sink.publish(events_of("door", range(5, 10))))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        broker.start()
        await waiting
        async with Subscriber(broker, "cameras/#") as subscriber:
            await sink.publish(events_of("door", range(10, 15)))
            frames = [event_from_json(text).frame_index for _, text in await subscriber.until(5)]
        assert frames[-5:] == [10, 11, 12, 13, 14]
    finally:
        await sink.close()
        broker.stop()


# paho leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_tls(broker: Broker) -> None:
    url = f"mqtts://door:open@localhost:{broker.tls_port}/cameras"
    sink = MqttSink(f"{url}?ssl_ca_certs={broker.ca}")
    async with Subscriber(broker, "cameras/#") as subscriber:
        await sink.publish(events_of("tls", [1]))
        await subscriber.until(1)
    await sink.close()
    unsure = MqttSink(url, max_retry_seconds=0)
    with pytest.raises(SinkUnavailableError):
        await unsure.publish(events_of("tls", [2]))
    await unsure.close()
    del unsure
    gc.collect()


async def test_a_wrong_password_is_a_clear_error(broker: Broker) -> None:
    sink = MqttSink(broker.url.replace("open", "shut"), max_retry_seconds=5)
    with pytest.raises(ConfigError) as caught:
        await sink.publish(events_of("door", [1]))
    assert "shut" not in str(caught.value)
    await sink.close()


async def test_an_unreachable_broker(broker: Broker) -> None:
    sink = MqttSink(f"mqtt://127.0.0.1:{unused_port()}", max_retry_seconds=0.2)
    with pytest.raises(SinkUnavailableError):
        await sink.publish(events_of("door", [1]))
    await sink.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mqtt://user:secret@", "is not a host"),
        ("mqtt://user:secret@a,b", "more than one broker"),
        ("mqtt://user:secret@a/x+y", "wildcard"),
        ("mqtt://user:secret@a?qos=3", "qos is 0, 1 or 2"),
        ("mqtt://user:secret@a?color=red", "unknown options color"),
        ("mqtts://user:secret@a?ssl_ca_certs=/nowhere", "certificates"),
    ],
)
def test_wrong_urls(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        MqttSink(url)
    assert "secret" not in str(caught.value)
