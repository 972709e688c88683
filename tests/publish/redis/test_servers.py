"""Every kind of server and connection: Valkey, Redis, unix socket, TLS with an own certificate, users of few rights."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from emostream.client import ConsumerGroup, EmotionEvents
from emostream.config import PublishSettings
from emostream.errors import ConfigError, EventRejectedError, SinkUnavailableError
from emostream.publish.redis.embedded import find_server
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import events_key
from tests.conftest import REPOSITORY
from tests.ports import unused_port
from tests.publish.connection_rights import assert_only_its_own_connection
from tests.publish.samples import STATUS, events_of

pytestmark = pytest.mark.integration

SETTINGS = PublishSettings(connect_timeout_seconds=2, max_retry_seconds=0.5, max_age_seconds=1e6, group_check_seconds=0)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens in three ways."""

    port: int
    tls_port: int | None
    unix_socket: Path
    ca: Path


def make_certificate(folder: Path) -> None:
    """A certificate for localhost that signs itself."""
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def acl_lines() -> list[str]:
    """The users of docs/events.md, as they stand there."""
    page = (REPOSITORY / "docs" / "events.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("user ")]
    assert len(lines) == 2
    return lines


def binaries() -> list[Path]:
    found = [find_server()]
    if (redis := shutil.which("redis-server")) is not None:
        found.append(Path(redis))
    return found


@pytest.fixture(scope="module", params=binaries(), ids=lambda path: path.name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    make_certificate(folder)
    port, tls_port = unused_port(), unused_port()
    plain = ["bind 127.0.0.1", f"port {port}", f"unixsocket {folder}/s", 'save ""', f"dir {folder}", "tcp-backlog 128"]
    tls = [f"tls-port {tls_port}", "tls-cert-file cert.pem", "tls-key-file key.pem", "tls-auth-clients no"]
    has_tls = False
    for lines in (plain + tls, plain):
        (folder / "server.conf").write_text("\n".join([*lines, *acl_lines()]) + "\n", encoding="utf-8")
        process = subprocess.Popen([request.param, "server.conf"], cwd=folder, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                break
        if process.poll() is None:
            has_tls = lines != plain
            break  # a server that was built without TLS ends at once
    try:
        yield Server(port, tls_port if has_tls else None, folder / "s", folder / "cert.pem")
    finally:
        process.terminate()
        process.wait(10)


async def publish_and_read(publish_url: str, read_url: str, stream_id: str) -> None:
    """Publish, subscribe and consume as a group."""
    async with RedisSink(SETTINGS, redis_url=publish_url) as sink:
        await sink.publish(events_of(stream_id, range(300)))
        await sink.publish_status(STATUS)
    async with ConsumerGroup(read_url, group="g", streams=[stream_id]) as group:
        async for batch in group.batches():
            assert [delivery.event.frame_index for delivery in batch] == list(range(300))
            await group.ack(*batch)
            break
    async with RedisSink(SETTINGS, redis_url=publish_url) as sink:
        await sink.publish(events_of(stream_id, range(300, 301)))
    events = EmotionEvents(read_url, streams=[stream_id], start="start", follow=False)
    assert [event.frame_index async for event in events] == list(range(301))


async def test_tcp(server: Server, stream_id: str) -> None:
    url = f"redis://127.0.0.1:{server.port}/0"
    await publish_and_read(url, url, stream_id)


async def test_unix_socket(server: Server, stream_id: str) -> None:
    url = f"unix://{server.unix_socket}?db=0"
    await publish_and_read(url, url, stream_id)


async def test_tls_with_an_own_certificate(server: Server, stream_id: str) -> None:
    if server.tls_port is None:
        pytest.skip("this server was built without TLS")
    url = f"rediss://localhost:{server.tls_port}/0?ssl_ca_certs={server.ca}"
    await publish_and_read(url, url, stream_id)
    with pytest.raises(SinkUnavailableError, match="certificate"):
        await RedisSink(SETTINGS, redis_url=f"rediss://localhost:{server.tls_port}/0").check()


async def test_users_have_the_rights_they_need_and_no_others(server: Server, stream_id: str) -> None:
    publisher, consumer = (f"redis://{user}:change-me@127.0.0.1:{server.port}/0" for user in ("publisher", "consumer"))
    await publish_and_read(publisher, consumer, stream_id)
    sink = RedisSink(SETTINGS, redis_url=consumer)
    with pytest.raises((ConfigError, EventRejectedError)):
        await sink.publish(events_of(stream_id, [500]))
    await sink.close()


@pytest.mark.parametrize("user", ["consumer", "reader"])
def test_consumers_write_dead_letters_and_nothing_else(server: Server, user: str, stream_id: str) -> None:
    """`reader` is the consumer of the manual for operators."""
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("ACL SETUSER consumer ")]
    events, dead = events_key(stream_id), f"emostream:dead:{stream_id}"
    with redis.Redis(port=server.port) as owner:
        owner.execute_command(*line.replace("consumer", "reader", 1).replace(">PASSWORD", ">change-me").split())
        owner.xadd(events, {"event": "{}"}, id="1-0")
        owner.xgroup_create(events, "others", id="0")
    with redis.Redis(port=server.port, username=user, password="change-me") as client:
        client.xgroup_create(events, "mine", id="0")
        ((_, entries),) = client.xreadgroup("mine", "me", {events: ">"})
        client.xadd(dead, {"dead_key": events})
        assert client.xlen(dead) == 1
        client.xack(events, "mine", entries[0][0])
        for forbidden in (
            ("XADD", events, "*", "epoch", "9007199254740991"),
            ("XDEL", events, "1-0"),
            ("XTRIM", events, "MAXLEN", "0"),
            ("XSETID", events, "9007199254740991-0"),
            ("DEL", events),
            ("SET", f"emostream:fence:{stream_id}", "9007199254740991"),
            ("XGROUP", "DESTROY", events, "others"),
            ("XGROUP", "SETID", events, "others", "$"),
            ("XGROUP", "DELCONSUMER", events, "others", "them"),
            ("DEL", dead),
            ("EVAL", "return redis.call('XADD', KEYS[1], '*', 'a', 'b')", "1", events),
            ("CLIENT", "PAUSE", "1"),
            ("CLIENT", "KILL", "TYPE", "normal"),
            ("CLIENT", "NO-EVICT", "on"),
            ("SWAPDB", "0", "1"),
            ("CONFIG", "GET", "*"),
            ("ACL", "LIST"),
        ):
            with pytest.raises(redis.ResponseError):
                client.execute_command(*forbidden)
        assert len(client.xrange(events)) == 1


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("user", ["publisher", "consumer", "reader"])
def test_no_user_reaches_the_connections_of_others(server: Server, user: str, protocol: int) -> None:
    """As the default one a client sends its name, its library and the protocol; `reader` is that of the manual."""
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("ACL SETUSER consumer ")]
    with redis.Redis(port=server.port) as owner:
        owner.execute_command(*line.replace("consumer", "reader", 1).replace(">PASSWORD", ">change-me").split())
        owner.xadd(events_key("door"), {"event": "{}"})
    with redis.Redis(
        port=server.port,
        username=user,
        password="change-me",
        protocol=protocol,
        client_name="me",
        health_check_interval=1,
    ) as client:
        assert client.xrange(events_key("door"))
        assert_only_its_own_connection(client)
