"""Real servers that stand together: a cluster of three, and a primary with a replica behind three Sentinels."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from emostream.publish.redis.embedded import find_server
from tests.ports import is_free, unused_port

PASSWORD = "open-sesame"
_NUM_SLOTS = 16384
_BUS_OFFSET = 10_000
_START_SECONDS = 60.0


def server_binaries() -> list[Path]:
    """The embedded server, and that of the distribution where it is installed."""
    found = [find_server()]
    if (redis := shutil.which("redis-server")) is not None:
        found.append(Path(redis))
    return found


def free_ports(num: int) -> list[int]:
    """Ports on which nobody listens, nor on those of a cluster's bus that belong to them."""
    ports: set[int] = set()
    while len(ports) < num:
        port = unused_port(highest=32_000 - _BUS_OFFSET)
        if is_free(port + _BUS_OFFSET):
            ports.add(port)
    return sorted(ports)


def wait_until(what: Callable[[], bool], *, seconds: float = _START_SECONDS) -> None:
    """Return once it is true; a server that does not answer yet makes it false."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(RedisError, OSError):
            if what():
                return
        assert time.monotonic() < deadline, "the servers did not come together in time"
        time.sleep(0.05)


@dataclass
class Servers:
    """Processes by their port; killed at the end.

    Attributes:
        executable: the server's binary.
        folder: holds a folder per server.
        certificate: folder of cert.pem and key.pem for servers that speak TLS only; None for plain ones.
        processes: port → process.
    """

    executable: Path
    folder: Path
    certificate: Path | None = None
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, port: int, *lines: str, is_sentinel: bool = False) -> None:
        """Start a server, or start it again with what it wrote into its folder."""
        home = self.folder / str(port)
        home.mkdir(exist_ok=True)
        config = home / "server.conf"
        if not config.exists():
            ports = [f"port {port}"] if self.certificate is None else self._tls_lines(port, self.certificate)
            config.write_text("\n".join([*ports, "bind 127.0.0.1", f"dir {home}", *lines]) + "\n", encoding="utf-8")
        arguments = ["--sentinel"] if is_sentinel else []
        with (home / "log").open("ab") as log:
            self.processes[port] = subprocess.Popen([self.executable, config, *arguments], stdout=log, stderr=log)
        wait_until(lambda: bool(self.client(port).ping()))

    def client(self, port: int) -> Any:
        """A plain connection to one of the servers."""
        ca = None if self.certificate is None else str(self.certificate / "cert.pem")
        return Redis(
            port=port,
            password=PASSWORD,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
            ssl=ca is not None,
            ssl_ca_certs=ca,
        )

    def url(self, kind: str, ports: Sequence[int], *, path: str = "", user: str = "", options: str = "") -> str:
        """How clients connect."""
        addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
        scheme = "redis" if self.certificate is None else "rediss"
        if self.certificate is not None:
            options += f"{'&' if options else ''}ssl_ca_certs={self.certificate / 'cert.pem'}"
        return f"{scheme}+{kind}://{user or f':{PASSWORD}'}@{addresses}{path}{f'?{options}' if options else ''}"

    def kill(self, port: int) -> None:
        """As a power cut would."""
        process = self.processes.pop(port)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """Kill all that are left."""
        for port in list(self.processes):
            self.kill(port)

    @staticmethod
    def _tls_lines(port: int, folder: Path) -> list[str]:
        files = [f"tls-cert-file {folder}/cert.pem", f"tls-key-file {folder}/key.pem"]
        return ["port 0", f"tls-port {port}", *files, f"tls-ca-cert-file {folder}/cert.pem", "tls-auth-clients no",
                "tls-replication yes", "tls-cluster yes"]  # fmt: skip


@contextlib.contextmanager
def running(executable: Path, folder: Path, *, certificate: Path | None = None) -> Iterator[Servers]:
    """Servers that end with the block."""
    servers = Servers(executable, folder, certificate)
    try:
        yield servers
    finally:
        servers.stop()


_DATA = (f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", 'save ""', "tcp-backlog 128")


@dataclass(frozen=True)
class Cluster:
    """Three primaries, and a replica of each.

    Attributes:
        servers: the processes.
        primaries: ports of the first primaries, by share of the slots.
    """

    servers: Servers
    primaries: list[int]

    def url(self, user: str = "") -> str:
        """Of two of the nodes."""
        return self.servers.url("cluster", self.primaries[:2], user=user)


def start_cluster(servers: Servers, *lines: str) -> Cluster:
    """Six servers that know each other and share the slots; `lines` are added to their configuration."""
    ports = free_ports(6)
    for epoch, port in enumerate(ports, start=1):
        servers.start(port, *_DATA, *lines, "cluster-enabled yes", "cluster-node-timeout 2000", "appendonly no")
        # Nodes that meet with the same epoch quarrel about it, and a failover or a move meanwhile may be lost.
        servers.client(port).execute_command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
    primaries, replicas = ports[:3], ports[3:]
    for index, port in enumerate(primaries):
        first, last = (_NUM_SLOTS * place // 3 for place in (index, index + 1))
        servers.client(port).execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
    for port in ports[1:]:
        servers.client(ports[0]).execute_command("CLUSTER", "MEET", "127.0.0.1", port)
    wait_until(lambda: all(len(servers.client(port).cluster("NODES")) == len(ports) for port in ports))
    for primary, replica in zip(primaries, replicas, strict=True):
        node = servers.client(primary).execute_command("CLUSTER", "MYID").decode()
        wait_until(partial(_replicates, servers.client(replica), node))
    wait_until(lambda: all(servers.client(port).cluster("INFO")["cluster_state"] == "ok" for port in ports))
    wait_until(lambda: all(_is_linked(servers, port) for port in replicas))
    return Cluster(servers, primaries)


def _replicates(replica: Any, node: str) -> bool:
    return bool(replica.cluster("REPLICATE", node))


def _is_linked(servers: Servers, port: int) -> bool:
    return bool(servers.client(port).info("replication")["master_link_status"] == "up")


@dataclass(frozen=True)
class Watched:
    """A primary and its replica behind Sentinels that ask for a password of their own.

    Attributes:
        servers: the processes.
        primary, replica: ports.
        sentinels: ports.
    """

    servers: Servers
    primary: int
    replica: int
    sentinels: list[int]

    def url(self, user: str = "") -> str:
        """Of all Sentinels."""
        options = f"sentinel_password={PASSWORD}"
        return self.servers.url("sentinel", self.sentinels, path="/door/0", user=user, options=options)


def start_pair(servers: Servers, *lines: str) -> tuple[int, int]:
    """A primary and its replica; `lines` are added to their configuration."""
    primary, replica = free_ports(2)
    servers.start(primary, *_DATA, *lines)
    servers.start(replica, *_DATA, *lines, f"replicaof 127.0.0.1 {primary}")
    wait_until(lambda: _is_linked(servers, replica))
    return primary, replica


def start_sentinels(servers: Servers, *lines: str) -> Watched:
    """Two servers and three Sentinels that agree on a failover within seconds; `lines` are added to the servers'."""
    primary, replica = start_pair(servers, *lines)
    sentinels = free_ports(3)
    for port in sentinels:
        servers.start(
            port,
            f"requirepass {PASSWORD}",
            f"sentinel sentinel-pass {PASSWORD}",
            f"sentinel monitor door 127.0.0.1 {primary} 2",
            f"sentinel auth-pass door {PASSWORD}",
            "sentinel down-after-milliseconds door 1000",
            "sentinel failover-timeout door 5000",
            is_sentinel=True,
        )

    def agree() -> bool:
        masters = [servers.client(port).sentinel_masters()["door"] for port in sentinels]
        return all(master["num-other-sentinels"] == 2 and master["num-slaves"] == 1 for master in masters)

    wait_until(agree)
    return Watched(servers, primary, replica, sentinels)
