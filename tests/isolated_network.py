"""A program in a network of its own: nothing but loopback, and a name server that writes down what is asked.

It sees look-ups of C and C++ libraries too, because the name server is the one that the C library asks. Needs Linux,
and `unshare` of util-linux with user namespaces allowed. Run as a program it is the launcher inside: it runs a command
and writes how that ended, and the names, to a file.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_NAMESPACES = ("--user", "--map-root-user", "--net", "--mount")
_SET_FLAGS = 0x8914  # SIOCSIFFLAGS
_UP = 1
_HEADER_BYTES = 12  # of a DNS message


@dataclass(frozen=True, slots=True)
class Isolated:
    """How a command ended, and the names it looked up, in order."""

    code: int
    looked_up: list[str]
    output: str


def can_isolate() -> bool:
    """Whether this machine lets a program have a network of its own."""
    if shutil.which("unshare") is None:
        return False
    # Mounting is what security profiles of containers forbid most often.
    trial = ["unshare", *_NAMESPACES, "mount", "--bind", "/etc/hosts", "/etc/hosts"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def run_isolated(command: Sequence[str], *, environment: Mapping[str, str], cwd: Path) -> Isolated:
    """Run a command without a network, in exactly this environment."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        launcher = [sys.executable, str(Path(__file__)), str(out), *command]
        process = subprocess.run(
            ["unshare", *_NAMESPACES, *launcher],
            env=dict(environment),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert out.exists(), process.stderr
        result = json.loads(out.read_text())
    return Isolated(result["code"], result["looked_up"], process.stdout + process.stderr)


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh22x", b"lo", _UP))


def _use_name_server(folder: Path) -> None:
    resolver = folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    services = folder / "nsswitch.conf"
    services.write_text("hosts: files dns\n")  # not by way of a daemon, which lives in another network
    for ours in (resolver, services):
        there = Path("/etc") / ours.name
        if there.exists():
            subprocess.run(["mount", "--bind", str(ours), str(there)], check=True)


def _name_in(question: bytes) -> str:
    labels, position = [], _HEADER_BYTES
    while length := question[position]:
        labels.append(question[position + 1 : position + 1 + length].decode(errors="replace"))
        position += 1 + length
    return ".".join(labels)


def _answer_all(server: socket.socket, names: list[str]) -> None:
    while True:
        question, sender = server.recvfrom(4096)
        names.append(_name_in(question))
        # The same question back as an answer: no such name (code 3).
        server.sendto(question[:2] + b"\x81\x83" + question[4:6] + bytes(6) + question[_HEADER_BYTES:], sender)


def _main(out: Path, command: Sequence[str]) -> None:
    _bring_loopback_up()
    names: list[str] = []
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        _use_name_server(Path(folder))
        server.bind(("127.0.0.1", 53))
        threading.Thread(target=_answer_all, args=(server, names), daemon=True).start()
        code = subprocess.run(command, check=False).returncode
    out.write_text(json.dumps({"code": code, "looked_up": names}))
    os._exit(0)  # the thread waits in a system call


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2:])
