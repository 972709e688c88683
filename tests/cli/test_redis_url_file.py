"""The file with the URL of the Redis that `serve` starts: for its owner only, and there only while it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from emostream.cli.redis_url_file import redis_url_file, redis_url_folder

URL = "redis://:zebra@127.0.0.1:7000/0"


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_it_is_for_its_owner_while_the_service_runs(umask: int) -> None:
    with redis_url_file(URL, port=7000) as path, redis_url_file(URL, port=7001) as other:
        assert path != other and path.read_text().strip() == URL
        assert [each.stat().st_mode & 0o777 for each in (path, other, path.parent)] == [0o600, 0o600, 0o700]
    assert not redis_url_folder().exists()


def test_what_a_killed_service_left_is_replaced() -> None:
    redis_url_folder().mkdir(parents=True)
    left = redis_url_folder() / "redis-7000.url"
    left.write_text("redis://:old@127.0.0.1:7000/0")
    left.chmod(0o666)
    with redis_url_file(URL, port=7000) as path:
        assert path == left
        assert (path.read_text().strip(), path.stat().st_mode & 0o777) == (URL, 0o600)


@pytest.mark.skipif(os.name != "posix", reason="symbolic links need rights elsewhere")
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    redis_url_folder().mkdir(parents=True)
    target = tmp_path / "target"
    target.write_text("mine")
    (redis_url_folder() / "redis-7000.url").symlink_to(target)
    with redis_url_file(URL, port=7000):
        assert target.read_text() == "mine"


def test_a_home_that_cannot_be_written(home: Path) -> None:
    (home / "emostream").write_text("a file in the place of the folder")
    with pytest.raises(OSError), redis_url_file(URL, port=7000):  # of several kinds
        pass
