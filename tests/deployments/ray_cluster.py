"""A Ray cluster of one machine that belongs to nobody's program, as an operator has one."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import psutil

from emostream.deployments.http_proxy import ENVIRONMENT
from tests.ports import unused_port

# As the manual says; without it nobody joins, deploys or looks.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

_START_SECONDS = 120.0
_START_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Where it is.

    Attributes:
        address: for `--address`.
        dashboard_url: for `serve deploy`.
    """

    address: str
    dashboard_url: str

    def deploy(self, config: Path) -> None:
        """`serve deploy`, which returns before the application is up."""
        serve = str(Path(sys.executable).with_name("serve"))
        command = [serve, "deploy", str(config), "--address", self.dashboard_url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | TOKEN, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def ray_cluster(
    *, redis_url: str, log: Path, start_params: Mapping[str, str | int] | None = None
) -> Iterator[RayCluster]:
    """Its head, started with the Redis URL in its environment; it ends with all its processes.

    Args:
        redis_url: in the environment of all that runs there.
        log: receives what Ray prints.
        start_params: options of `ray start` over those that one machine needs.
    """
    port, dashboard_port = unused_port(), unused_port()
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # names of sockets must be short
    options: dict[str, str | int] = {
        "port": port,
        "dashboard-port": dashboard_port,
        "dashboard-agent-listen-port": unused_port(),
        "ray-client-server-port": unused_port(),
        "include-dashboard": "true",
        "num-cpus": 4,
        "temp-dir": folder,
    }
    command = _ray_start("--head", options=options | dict(start_params or {}))
    environment = _environment(redis_url)
    cluster = RayCluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard_port}")
    with log.open("w") as output:
        process = _started(
            command,
            environment,
            is_up=lambda: _answers(f"{cluster.dashboard_url}/api/serve/applications/"),
            output=output,
        )
        try:
            yield cluster
        finally:
            end_node(process)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def ray_node(
    cluster: RayCluster, *, redis_url: str, log: Path, start_params: Mapping[str, str | int]
) -> Iterator[subprocess.Popen[bytes]]:
    """One more node of the cluster, on this machine; `end_node` takes it away at once.

    Args:
        cluster: what it joins.
        redis_url: in the environment of all that runs there.
        log: receives what Ray prints.
        start_params: options of `ray start` over those that one machine needs.
    """
    ports = {
        "dashboard-agent-listen-port": unused_port(),
        "metrics-export-port": unused_port(),
        "min-worker-port": 0,  # any; each node would otherwise count from the same one
        "max-worker-port": 0,
    }
    command = _ray_start(f"--address={cluster.address}", options=ports | dict(start_params))
    with log.open("w") as output:
        # Two that start at the same time on one machine would choose the same names of sockets.
        process = _started(
            command, _environment(redis_url), is_up=lambda: "Ray runtime started" in log.read_text(), output=output
        )
        try:
            yield process
        finally:
            end_node(process)


def _ray_start(*arguments: str, options: Mapping[str, str | int]) -> list[str]:
    command = [str(Path(sys.executable).with_name("ray")), "start", *arguments, "--block", "--disable-usage-stats"]
    return command + [f"--{name}={value}" for name, value in options.items()]


def _environment(redis_url: str) -> dict[str, str]:
    return os.environ | TOKEN | dict([ENVIRONMENT]) | {"EMOSTREAM_PUBLISH__REDIS_URL": redis_url}


def _started(
    command: Sequence[str], environment: Mapping[str, str], *, is_up: Callable[[], bool], output: TextIO
) -> subprocess.Popen[bytes]:
    """A node when it is up; Ray gives up after 30 s, which a busy machine may need twice."""
    for _ in range(_START_ATTEMPTS):
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if is_up():
                return process
            time.sleep(0.2)
        end_node(process)
    raise AssertionError(Path(output.name).read_text())


def _answers(url: str) -> bool:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN['RAY_AUTH_TOKEN']}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def end_node(process: subprocess.Popen[bytes]) -> None:
    """Kill all its processes at once: in order it would wait half a minute for its work to go elsewhere."""
    with contextlib.suppress(psutil.NoSuchProcess):
        whole = psutil.Process(process.pid)
        for each in [*whole.children(recursive=True), whole]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()
