"""`emostream serve` as a child process, with everything it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import psutil

from emostream.client.http.json_client import ApiClient
from tests.ports import unused_port

_START_TIMEOUT_SECONDS = 150.0
_STOP_TIMEOUT_SECONDS = 60.0
_REPLICA_TITLE = "ray::ServeReplica:emostream:"


@dataclass(frozen=True, slots=True)
class Service:
    """A running service.

    Attributes:
        process: the command.
        client: speaks to it.
        url: where it is.
        start_seconds: from the command to ready.
    """

    process: subprocess.Popen[str]
    client: ApiClient
    url: str
    start_seconds: float

    def descendants(self) -> list[psutil.Process]:
        """Everything it started that lives."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def replica_pids(self, deployment: str) -> list[int]:
        """Processes of a deployment's replicas."""
        found = []
        for process in self.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline() and process.cmdline()[0].startswith(_REPLICA_TITLE + deployment):
                    found.append(process.pid)
        return sorted(found)

    def actor_pid(self, name: str) -> int:
        """The process of an actor of Serve itself."""
        for process in self.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline() and process.cmdline()[0].startswith(f"ray::{name}"):
                    return process.pid
        raise AssertionError(f"no process {name} is running")

    def ray_environment(self) -> dict[str, str]:
        """What a program needs to use this Ray, and no other of the machine: address and token."""
        (gcs,) = [process for process in self.descendants() if process.name() == "gcs_server"]
        port = next(it.laddr.port for it in gcs.net_connections("tcp") if it.status == psutil.CONN_LISTEN)
        environment = psutil.Process(self.actor_pid("ProxyActor")).environ()
        # The third says that Ray is on the loopback interface.
        names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
        token = {name: environment[name] for name in names}
        return token | {"RAY_ADDRESS": f"127.0.0.1:{port}"}

    def stop(self) -> float:
        """Ctrl-C, which a terminal sends to all processes; seconds until it ended, leaving no process behind."""
        started = time.monotonic()
        before = self.descendants()
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.wait(_STOP_TIMEOUT_SECONDS) == 0
        took_seconds = time.monotonic() - started
        _, alive = psutil.wait_procs(before, timeout=30)
        assert not alive, [process.cmdline() for process in alive]
        return took_seconds


@contextlib.contextmanager
def serve_process(*arguments: str | Path, output: TextIO) -> Iterator[subprocess.Popen[str]]:
    """`emostream serve ARGUMENTS`; stopped in whatever way at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "emostream", "serve", *map(str, arguments)],
        stdout=output,
        stderr=output,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def running_service(*arguments: str | Path, log: Path) -> Iterator[Service]:
    """Start the service and wait until it is ready; stopped in whatever way at the end."""
    port = unused_port()
    started = time.monotonic()
    with log.open("w") as output, serve_process("--port", str(port), *arguments, output=output) as process:
        while "ready:" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() - started < _START_TIMEOUT_SECONDS, log.read_text()
            time.sleep(0.1)
        host = "[::1]" if "::1" in arguments else "127.0.0.1"
        url = f"http{'s' if '--tls-cert' in arguments else ''}://{host}:{port}"
        yield Service(process, ApiClient(url), url, time.monotonic() - started)


def wait_for(
    condition: Callable[[], bool], *, timeout_seconds: float, told: Callable[[], object] = lambda: ""
) -> float:
    """Seconds until the condition holds; when it does not, `told` says what there was instead."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_seconds, f"it did not happen in time: {told()}"
        time.sleep(0.1)
    return time.monotonic() - started
