"""What holds passwords or says who showed what is for its owner alone, whatever the umask and whatever was there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from emostream.config import PublishSettings
from emostream.domain.stream import StreamKind
from emostream.files import make_private_folder
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.worker.sink import open_worker_sink
from tests.ports import unused_port
from tests.publish.samples import events_of


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """That of whoever starts the program."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def assert_private(folder: Path) -> None:
    """Nobody else can read or change anything of it."""
    found = [folder, *folder.rglob("*")]
    wide = {str(path): oct(path.stat().st_mode) for path in found if path.stat().st_mode & 0o077}
    assert not wide
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}


def widen(folder: Path) -> None:
    """As an earlier version left it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


def wait_for_the_rewrite(client: redis.Redis) -> None:
    """Its temporary file goes away while it is looked at."""
    while True:
        state = client.info("persistence")
        if not (state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]):
            return
        time.sleep(0.01)


@pytest.mark.integration
def test_data_of_the_embedded_server(umask: int, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    for value in (b"first", b"second"):
        with EmbeddedRedis(data_dir=folder) as server, redis.Redis.from_url(server.url) as client:
            client.set("camera", value)
            client.save()
            client.bgrewriteaof()
            wait_for_the_rewrite(client)
            assert list(folder.rglob("*.aof"))
            assert (folder / "server.conf").exists()
            assert_private(folder)
        assert_private(folder)
        widen(folder)
    with EmbeddedRedis(data_dir=folder) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("camera") == b"second"
        assert_private(folder)


@pytest.mark.integration
def test_a_folder_with_other_things_keeps_its_rights_and_ours_in_it_are_private(umask: int, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.touch()
    other.chmod(0o644)
    tmp_path.chmod(0o755)
    with EmbeddedRedis(data_dir=tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("camera", "door")
        for path in tmp_path.rglob("*"):
            assert path == other or path.stat().st_mode & 0o077 == 0, path
    assert (other.stat().st_mode & 0o777, tmp_path.stat().st_mode & 0o777) == (0o644, 0o755)


async def test_a_spool(umask: int, tmp_path: Path) -> None:
    """Nothing answers at the server's address, so that everything waits on the disk."""
    settings = PublishSettings(
        spool_dir=tmp_path / "new" / "spool",
        connect_timeout_seconds=0.2,
        max_retry_seconds=0.1,
        spool_max_bytes=1 << 16,
    )
    assert settings.spool_dir is not None
    for epoch in (1, 2):
        url = f"redis://127.0.0.1:{unused_port()}/0"
        sink = open_worker_sink(settings, redis_url=url, kind_of=lambda _: StreamKind.LIVE)
        for _ in range(4):
            await sink.publish(events_of("door", range(100), epoch=epoch))
        await sink.close()
        assert list(settings.spool_dir.rglob("*.spool"))
        assert list(settings.spool_dir.rglob("lost")), "more came than there is room for"
        assert_private(settings.spool_dir)
        widen(settings.spool_dir)


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "link").symlink_to(outside)
    for path in (outside, outside / "file"):
        path.chmod(0o755)
    make_private_folder(tmp_path / "ours")
    assert [path.stat().st_mode & 0o777 for path in (outside, outside / "file")] == [0o755, 0o755]
