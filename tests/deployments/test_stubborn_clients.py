"""The whole service on Ray against clients that send half a request, or read nothing of an answer."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import psutil
import pytest

from tests.deployments.service_process import Service, running_service, wait_for
from tests.media import textured_picture
from tests.service.mjpeg_server import mjpeg_server
from tests.vision.detect.real_model import centerface_path

pytest.importorskip("ray")
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

HALF = b"POST /v1/streams HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
MB = 1 << 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    centerface_path()
    log = tmp_path_factory.mktemp("service") / "serve.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOSTREAM_SERVICE__MAX_REQUESTS_PER_SECOND", "0")
        patch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"))  # with models
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        with running_service("--allow-network", "127.0.0.0/8", log=log) as service:
            yield service


@contextlib.contextmanager
def connections(service: Service, num: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """So many that sent this and read nothing."""
    address = urlsplit(service.url)
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(num):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.connect((address.hostname, address.port))
            connection.sendall(sent)
            opened.append(connection)
        yield opened


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def num_open(opened: Sequence[socket.socket]) -> int:
    """Connections that the service keeps."""
    established = 1
    return sum(it.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == established for it in opened)


def test_ray_obeys_no_command_without_the_token(service: Service) -> None:
    """The token is in the environment of its processes, and in no file of the home."""
    ray = service.ray_environment()
    assert ray["RAY_AUTH_MODE"] == "token"
    assert len(ray["RAY_AUTH_TOKEN"]) == 64
    home = psutil.Process(service.actor_pid("ProxyActor")).environ()["HOME"]
    assert not (Path(home) / ".ray").exists()
    program = f"import ray; ray.init(address='{ray['RAY_ADDRESS']}', logging_level='ERROR'); print('connected')"
    for wrong in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | ray | wrong,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode != 0
        assert "connected" not in done.stdout


def test_its_ray_listens_on_loopback(service: Service) -> None:
    """But for the replicas: Serve opens their ports everywhere, and asks for the token."""
    found = {}
    for process in [psutil.Process(service.process.pid), *service.descendants()]:
        with contextlib.suppress(psutil.NoSuchProcess):
            name = " ".join(process.cmdline()[:1])
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found[connection.laddr.port] = (connection.laddr.ip, name)
    assert len(found) > 5
    elsewhere = {name for ip, name in found.values() if ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")}
    assert all(name.startswith("ray::ServeReplica:") for name in elsewhere), elsewhere


def test_half_sent_requests_stop_nothing(service: Service) -> None:
    with connections(service, 1000, HALF) as opened:
        for path in ("/livez", "/readyz", "/metrics", "/v1/streams"):
            assert status_of(service.url + path) == 200
        wait_for(lambda: num_open(opened) == 0, timeout_seconds=120, told=lambda: num_open(opened))
    with connections(service, 300, HALF[:60]) as opened:
        assert status_of(service.url + "/livez") == 200
        wait_for(lambda: num_open(opened) == 0, timeout_seconds=120, told=lambda: num_open(opened))


def test_readers_that_stand_still_are_cut_off_and_fill_no_memory(service: Service) -> None:
    pictures = [textured_picture(number, width=640, height=360) for number in range(20)]
    jpegs = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
    with mjpeg_server(pictures=jpegs) as camera:
        service.client.add({"id": "door", "url": camera})
        wait_for(lambda: service.client.show("door")["state"] == "running", timeout_seconds=60)
        with connections(service, 40, b"GET /v1/streams/door/preview.mjpeg HTTP/1.1\r\nHost: x\r\n\r\n") as opened:
            pids = [service.actor_pid("ProxyActor"), *service.replica_pids("Ingress")]
            processes = [psutil.Process(pid) for pid in pids]
            time.sleep(10)  # the buffers of the kernel and the windows are full then
            before = sum(process.memory_info().rss for process in processes)
            most = before
            deadline = time.monotonic() + 150
            while num_open(opened) and time.monotonic() < deadline:
                most = max(most, sum(process.memory_info().rss for process in processes))
                time.sleep(1)
            assert num_open(opened) == 0
            assert most - before < 32 * MB
        # A place for each was given back.
        viewer = f"{service.url}/v1/streams/door/preview.mjpeg"
        with urllib.request.urlopen(viewer, timeout=20) as response:
            assert len(response.read(3 * MB)) == 3 * MB
        service.client.remove("door")


def test_clients_cannot_forge_their_address(service: Service) -> None:
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(60):  # ten more than one client may have
            sent = HALF.replace(b"Host: x", b"Host: x\r\nX-Forwarded-For: 192.0.2.%d" % number)
            opened += stack.enter_context(connections(service, 1, sent))
        answers = []
        for connection in opened:
            connection.settimeout(60)
            answers.append(int(connection.recv(64).split()[1]))
    assert sorted(answers) == [408] * 50 + [429] * 10
