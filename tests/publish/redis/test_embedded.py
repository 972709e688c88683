"""The embedded server: starts, keeps data, refuses what it must, and never outlives the program."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from emostream.errors import ConfigError, SinkUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis, find_server, url_of_running_server
from tests.ports import unused_port

pytestmark = pytest.mark.integration

STOP_SECONDS = 10.0


def wait_until_gone(pid: int) -> None:
    """Return once no process has this id any more (a zombie is gone)."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} is still there")


def temporary_folders() -> set[Path]:
    return set(Path(os.environ.get("TMPDIR", "/tmp")).glob("emostream-redis-*"))


def test_serves_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with EmbeddedRedis() as server:
        pid = server.server_pid
        assert len(temporary_folders()) == 1
        with Redis.from_url(server.url) as client:
            client.set("key", "value")
            assert client.get("key") == b"value"
    assert not psutil.pid_exists(pid)
    assert temporary_folders() == set()


def test_keeps_data_in_a_named_folder(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    for expected in (None, b"value"):
        with EmbeddedRedis(data_dir=folder) as server, Redis.from_url(server.url) as client:
            assert client.get("key") == expected
            client.set("key", "value")


def test_loses_nothing_acknowledged_when_killed(tmp_path: Path) -> None:
    with EmbeddedRedis(data_dir=tmp_path) as server, Redis.from_url(server.url) as client:
        for number in range(100):
            client.rpush("numbers", number)
        os.kill(server.server_pid, signal.SIGKILL)
    with EmbeddedRedis(data_dir=tmp_path) as server, Redis.from_url(server.url) as client:
        assert client.llen("numbers") == 100


def test_asks_for_the_password_and_listens_on_loopback_only() -> None:
    with EmbeddedRedis() as server:
        with Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client, pytest.raises(AuthenticationError):
            client.ping()
        listening = [c.laddr.ip for c in psutil.Process(server.server_pid).net_connections() if c.status == "LISTEN"]
        assert listening == ["127.0.0.1"]


def test_the_password_shows_in_no_process_and_no_readable_file(tmp_path: Path) -> None:
    with EmbeddedRedis(data_dir=tmp_path, password="open-sesame") as server:
        server_process = psutil.Process(server.server_pid)
        for process in (server_process, server_process.parent()):
            assert process is not None
            assert "open-sesame" not in " ".join(process.cmdline())
        for path in tmp_path.iterdir():
            if path.is_file() and b"open-sesame" in path.read_bytes():
                assert path.stat().st_mode & 0o077 == 0
    assert not any(b"open-sesame" in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_another_program_finds_it_by_its_folder(tmp_path: Path) -> None:
    assert url_of_running_server(tmp_path) is None
    with EmbeddedRedis(data_dir=tmp_path) as server:
        assert url_of_running_server(tmp_path) == server.url
    assert url_of_running_server(tmp_path) is None


def test_a_folder_in_use_is_refused_and_its_server_unharmed(tmp_path: Path) -> None:
    with EmbeddedRedis(data_dir=tmp_path) as server:
        with pytest.raises(ConfigError):
            EmbeddedRedis(data_dir=tmp_path).start()
        assert url_of_running_server(tmp_path) == server.url


def test_a_port_in_use_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError):
            EmbeddedRedis(port=taken.getsockname()[1]).start()


def test_a_free_port_that_another_process_takes_is_replaced() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answers = iter([taken.getsockname()[1]])
        with (
            EmbeddedRedis(find_port=lambda: next(answers, 0) or unused_port()) as server,
            Redis.from_url(server.url) as client,
        ):
            assert client.ping()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError):
        EmbeddedRedis(data_dir=tmp_path / name).start()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError):
        EmbeddedRedis(data_dir=tmp_path).start()


@pytest.mark.parametrize(
    ("content", "mode"), [(b"", 0o755), (b"\x7fELF for another machine", 0o755), (b"#!/bin/sh\n", 0o644)]
)
def test_a_server_that_cannot_run_here_is_a_clear_error(tmp_path: Path, content: bytes, mode: int) -> None:
    executable = tmp_path / "server"
    executable.write_bytes(content)
    executable.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        EmbeddedRedis(executable=executable).start()
    assert "--redis" in str(caught.value)


def test_a_server_that_ends_at_once_is_an_error_with_its_words(tmp_path: Path) -> None:
    executable = tmp_path / "server"
    executable.write_text("#!/bin/sh\necho cannot start today\nexit 3\n")
    executable.chmod(0o755)
    with pytest.raises(SinkUnavailableError, match=r"cannot start today$"):
        EmbeddedRedis(executable=executable).start()


def test_a_server_that_never_answers_is_given_up_and_stopped(tmp_path: Path) -> None:
    executable = tmp_path / "server"
    executable.write_text("#!/bin/sh\nexec sleep 1000\n")
    executable.chmod(0o755)
    server = EmbeddedRedis(executable=executable, start_timeout_seconds=0.3)
    with pytest.raises(SinkUnavailableError, match=r"0\.3 s"):
        server.start()
    assert not psutil.pid_exists(server._server_pid)


def test_damaged_data_is_an_error_with_the_servers_words(tmp_path: Path) -> None:
    with EmbeddedRedis(data_dir=tmp_path) as server, Redis.from_url(server.url) as client:
        client.set("key", "value")
    manifest = next(tmp_path.glob("appendonlydir/*.manifest"))
    manifest.write_text("nonsense\n")
    with pytest.raises(SinkUnavailableError):
        EmbeddedRedis(data_dir=tmp_path).start()


def test_no_server_on_this_machine_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="--redis URL"):
        find_server()
    other = tmp_path / "redis-server"
    other.write_text("")
    other.chmod(0o755)
    assert find_server() == other


def test_stopping_twice_is_allowed_and_using_it_then_is_not() -> None:
    server = EmbeddedRedis()
    server.start()
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError):
        _ = server.url


@pytest.mark.parametrize("password", ["", "a b", 'a"', "a\nb", "ü"])
def test_a_password_that_would_need_quoting_is_refused(password: str) -> None:
    with pytest.raises(ConfigError, match="password"):
        EmbeddedRedis(password=password)


PROGRAM = """
import sys, time, threading
from pathlib import Path
from emostream.publish.redis.embedded import EmbeddedRedis
server = EmbeddedRedis()
starter = threading.Thread(target=server.start)  # that thread ends, the server must not
starter.start()
starter.join()
time.sleep(0.2)
print(server.server_pid, server.url, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ends_with_the_program_however_that_ends(
    how: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as program:
        assert program.stdout is not None
        pid_text, url = program.stdout.readline().split()
        with Redis.from_url(url) as client:
            assert client.ping()
        guard = psutil.Process(int(pid_text)).parent()
        assert guard is not None
        program.send_signal(how)
        program.wait(STOP_SECONDS)
        wait_until_gone(int(pid_text))
        wait_until_gone(guard.pid)
    assert temporary_folders() == set()


@pytest.mark.skipif(sys.platform != "linux", reason="death signals exist on Linux only")
def test_ends_when_the_guard_is_killed(tmp_path: Path) -> None:
    with EmbeddedRedis(data_dir=tmp_path) as server:
        pid = server.server_pid
        guard = psutil.Process(pid).parent()
        assert guard is not None
        guard.kill()
        wait_until_gone(pid)


def test_ctrl_c_in_the_terminal_does_not_reach_it() -> None:
    with EmbeddedRedis() as server:
        assert os.getpgid(server.server_pid) != os.getpgid(0)
