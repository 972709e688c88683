"""The chart's Redis with a real server: its configuration starts, and each user may do what it should."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from emostream.publish.redis.embedded import find_server
from emostream.wire.keys import STATUS_KEY, SUMMARIES_KEY, events_key, registry_key
from tests.conftest import REPOSITORY
from tests.helm.chart import Document, Helm, named, pods
from tests.ports import unused_port
from tests.publish.connection_rights import assert_only_its_own_connection

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port: on the loopback address.
        passwords: user → password.
    """

    port: int
    passwords: dict[str, str]

    def connect(self, user: str, **options: Any) -> redis.Redis:
        """As one of the users."""
        return redis.Redis(port=self.port, username=user, password=self.passwords[user], **options)


@pytest.fixture(scope="module")
def documents(helm: Helm) -> list[Document]:
    """The chart with its defaults."""
    return helm.render()


@pytest.fixture(scope="module")
def server(documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the rendered configuration."""
    with _running(documents, tmp_path_factory.mktemp("valkey")) as found:
        yield found


@contextmanager
def _running(documents: list[Document], folder: Path, *, replaced: str = "", by: str = "") -> Iterator[Server]:
    """A server with the rendered configuration, data in the folder; only paths and port are other ones.

    Args:
        documents: the rendered chart.
        folder: of its data.
        replaced, by: a change of the configuration.
    """
    secret = named(documents, "Secret")["demo-emostream-redis"]["stringData"]
    config = named(documents, "ConfigMap")["demo-emostream-redis"]["data"]["valkey.conf"]
    assert replaced in config
    port = unused_port()
    acl = folder / "users.acl"
    acl.write_text(secret["users.acl"], encoding="utf-8")
    config = config.replace("/data", str(folder)).replace("/etc/valkey/users.acl", str(acl)).replace(replaced, by)
    config = config.replace("port 6379", f"port {port}").replace("bind * -::*", "bind 127.0.0.1")
    (folder / "valkey.conf").write_text(config, encoding="utf-8")
    process = subprocess.Popen(
        [find_server(), str(folder / "valkey.conf")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    found = Server(port, {"default": secret["password"], "consumer": secret["consumer-password"]})
    try:
        _wait_until_it_answers(found, process)
        yield found
    finally:
        process.terminate()
        process.communicate()


def _wait_until_it_answers(server: Server, process: subprocess.Popen[str]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise AssertionError(f"the server ended: {process.communicate()[0]}")
        try:
            with server.connect("default") as client:
                client.ping()
            return
        except redis.ConnectionError:
            time.sleep(0.05)  # a server has no other way to say that it is ready
    raise AssertionError("the server does not answer")


def test_the_service_may_do_everything(server: Server) -> None:
    with server.connect("default") as client:
        client.hset(registry_key("records"), "door", "{}")
        client.xadd(events_key("door"), {"event": "{}"})
        assert client.eval("return redis.call('HLEN', KEYS[1])", 1, registry_key("records")) == 1
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_every_command_needs_a_password(server: Server) -> None:
    with redis.Redis(port=server.port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_consumer_reads_events_and_nothing_else(server: Server) -> None:
    with server.connect("default") as owner:
        owner.xadd(events_key("door"), {"event": "{}"})
        owner.xadd(STATUS_KEY, {"event": "{}"})
        owner.xadd(SUMMARIES_KEY, {"event": "{}"})
        owner.hset(registry_key("records"), "door", "rtsp://user:password@camera")
    with server.connect("consumer") as client:
        assert client.xrange(events_key("door"))
        assert client.xrange(STATUS_KEY)
        assert client.xrange(SUMMARIES_KEY)
        client.xgroup_create(events_key("door"), "group", id="0")
        ((_, entries),) = client.xreadgroup("group", "me", {events_key("door"): ">"})
        assert client.xack(events_key("door"), "group", *[entry for entry, _ in entries]) == len(entries)
        for forbidden in (
            lambda: client.hgetall(registry_key("records")),
            lambda: client.xadd(events_key("door"), {"event": "{}"}),
            lambda: client.delete(events_key("door")),
            lambda: client.config_get("*"),
            client.flushall,
            client.keys,
        ):
            with pytest.raises(redis.ResponseError, match="permissions"):
                forbidden()
        assert_only_its_own_connection(client)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_usual_client_is_refused_nothing_when_it_connects(server: Server, protocol: int) -> None:
    with server.connect("default") as owner, server.connect("consumer", protocol=protocol, client_name="me") as client:
        owner.acl_log_reset()
        assert client.ping()
        assert client.exists(events_key("door")) in (0, 1)
        assert owner.acl_log() == []


def test_a_backup_is_restored_as_the_manual_says(documents: list[Document], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    with _running(documents, first) as server, server.connect("default") as client:
        client.hset(registry_key("records"), "door", "wanted")
        client.bgsave()
        _wait_for(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)
    shutil.copy(first / "dump.rdb", second)
    with (
        _running(documents, second, replaced="appendonly yes", by="appendonly no") as server,
        server.connect("default") as client,
    ):
        assert client.hget(registry_key("records"), "door") == b"wanted"
        client.config_set("appendonly", "yes")
        _wait_for(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
    with _running(documents, second) as server, server.connect("default") as client:
        assert client.hget(registry_key("records"), "door") == b"wanted"


def test_the_cron_job_copies_what_is_there_and_keeps_the_newest(helm: Helm, server: Server, tmp_path: Path) -> None:
    documents = helm.render({"redis": {"backup": {"enabled": True, "keep": 2}}})
    container = pods(documents)["CronJob demo-emostream-redis-backup"]["spec"]["containers"][0]
    script = container["command"][2].replace("/backup/", f"{tmp_path}/")
    script = script.replace("-h demo-emostream-redis -p 6379", f"-p {server.port}")
    script = script.replace("valkey-cli", str(shutil.which("valkey-cli") or shutil.which("redis-cli")))
    for name in ("20200101T000000Z.rdb", "20200102T000000Z.rdb", "20200103T000000Z.rdb", "20200104T000000Z.rdb.part"):
        (tmp_path / name).write_bytes(b"old")
    environment = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": server.passwords["default"]}
    subprocess.run(["sh", "-euc", script], env=environment, check=True, capture_output=True, timeout=60)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == 2
    assert kept[0] == "20200103T000000Z.rdb"
    assert (tmp_path / kept[1]).read_bytes()[:5] in (b"REDIS", b"VALKE")
    wrong = environment | {"REDISCLI_AUTH": "wrong"}
    failed = subprocess.run(["sh", "-euc", script], env=wrong, check=False, capture_output=True, timeout=60)
    assert failed.returncode
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".rdb") == kept


def test_the_server_of_ray_state_starts_and_wants_its_password(helm: Helm, tmp_path: Path) -> None:
    documents = helm.render({"gcsFaultTolerance": {"ownServer": {"enabled": True}}})
    container = pods(documents)["StatefulSet demo-emostream-gcs"]["spec"]["containers"][0]
    password = named(documents, "Secret")["demo-emostream-gcs"]["stringData"]["password"]
    port = unused_port()
    script = container["command"][2].replace("/data", str(tmp_path)).replace("/tmp/valkey.conf", str(tmp_path / "conf"))
    script = script.replace("bind * -::*", f"bind 127.0.0.1' 'port {port}")
    script = script.replace("exec valkey-server", f"exec {find_server()}")
    process = subprocess.Popen(
        ["sh", "-ec", script],
        env={"PATH": os.environ["PATH"], "REDISCLI_AUTH": password},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found = Server(port, {"default": password})
    try:
        _wait_until_it_answers(found, process)
        with redis.Redis(port=port) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        with found.connect("default") as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
    finally:
        process.terminate()
        process.communicate()


def _wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.05)  # the server tells it only when it is asked
    raise AssertionError("it did not happen within 10 s")


def test_the_consumer_has_the_rights_that_the_manual_gives(documents: list[Document]) -> None:
    manual = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    (line,) = [line for line in manual.splitlines() if line.startswith("ACL SETUSER consumer ")]
    rights = line.partition(">PASSWORD ")[2].split()
    acl = named(documents, "Secret")["demo-emostream-redis"]["stringData"]["users.acl"]
    (consumer,) = [line for line in acl.splitlines() if line.startswith("user consumer ")]
    assert rights
    # The manual is for older servers as well, which do not know the command by which clients name their library.
    assert set(rights) - {"-keys"} == set(consumer.split()[4:]) - {"resetchannels", "-keys", "+client|setinfo"}


def test_without_a_consumer_there_is_none(helm: Helm) -> None:
    secret = named(helm.render({"redis": {"consumerUser": False}}), "Secret")["demo-emostream-redis"]["stringData"]
    assert set(secret) == {"password", "users.acl"}
    assert "consumer" not in secret["users.acl"]


def test_passwords_are_long_and_differ(helm: Helm) -> None:
    first, second = (named(helm.render(), "Secret")["demo-emostream-redis"]["stringData"] for _ in range(2))
    assert len({first["password"], second["password"], first["consumer-password"], second["consumer-password"]}) == 4
    assert all(len(base64.b64encode(each["password"].encode())) >= 40 for each in (first, second))
    assert first["password"].isalnum()  # it becomes part of a URL
