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
from collections.abc import Iterator, Mapping, Sequence
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
def ray_cluster(*, redis_url: str, log: Path) -> Iterator[RayCluster]:
    """Started with the Redis URL in its environment; it ends with all its processes."""
    port, dashboard_port = unused_port(), unused_port()
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # names of sockets must be short
    options = {
        "port": port,
        "dashboard-port": dashboard_port,
        "dashboard-agent-listen-port": unused_port(),
        "ray-client-server-port": unused_port(),
        "include-dashboard": "true",
        "num-cpus": 4,
        "temp-dir": folder,
    }
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats"]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = os.environ | TOKEN | dict([ENVIRONMENT]) | {"EMOSTREAM_PUBLISH__REDIS_URL": redis_url}
    cluster = RayCluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard_port}")
    with log.open("w") as output:
        process = _started(command, environment, cluster=cluster, output=output)
        try:
            yield cluster
        finally:
            _end(process)
            shutil.rmtree(folder, ignore_errors=True)


def _started(
    command: Sequence[str], environment: Mapping[str, str], *, cluster: RayCluster, output: TextIO
) -> subprocess.Popen[bytes]:
    """The head when it answers; Ray gives up after 30 s, which a busy machine may need twice."""
    for _ in range(_START_ATTEMPTS):
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if _answers(f"{cluster.dashboard_url}/api/serve/applications/"):
                return process
            time.sleep(0.2)
        _end(process)
    raise AssertionError(Path(output.name).read_text())


def _answers(url: str) -> bool:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN['RAY_AUTH_TOKEN']}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """At once: in order it would wait half a minute for its work to go elsewhere."""
    with contextlib.suppress(psutil.NoSuchProcess):
        whole = psutil.Process(process.pid)
        for each in [*whole.children(recursive=True), whole]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()
