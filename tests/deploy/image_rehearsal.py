"""Builds an image without Docker: the instructions of a Dockerfile, run one after the other on a copy of this machine.

The base image is stood in for by this machine's own root file system (Debian) with the Python that runs the tests in
`/usr/local`, where the official image has it. Each stage is an overlay over it, in memory and in a mount
namespace of its own, so nothing of this machine is changed and nothing is left behind. Needs root, and about 3 GB of
memory.

What this cannot show: that the named base image exists, and what differs between it and this machine.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.deploy.dockerfile import Dockerfile, Instruction, Stage

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PRELUDE = """
set -euo pipefail
mount --make-rprivate /
mount -t tmpfs -o size=6g,mode=755 tmpfs "$WORK"
begin_stage() {
  mkdir -p "$WORK/$1/changes" "$WORK/$1/scratch" "$WORK/$1/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/$1/changes,workdir=$WORK/$1/scratch" "$WORK/$1/root"
  for each in proc dev sys; do mount --rbind "/$each" "$WORK/$1/root/$each"; done
  mkdir -p "$WORK/$1/local-changes" "$WORK/$1/local-scratch"
  mount -t overlay overlay "$WORK/$1/root/usr/local" \\
    -o "lowerdir=$PYTHON_PREFIX:/usr/local,upperdir=$WORK/$1/local-changes,workdir=$WORK/$1/local-scratch"
  chroot "$WORK/$1/root" ldconfig # as the official image does for its libpython
  rm -rf "$WORK/$1/root/opt"/*
  mount -t tmpfs -o mode=1777 tmpfs "$WORK/$1/root/tmp" # empty; other programs write to the machine's meanwhile
}
"""


def can_rehearse() -> str:
    """Why it cannot be done here; empty when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, for a mount namespace"
    probe = "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/r && " + (
        "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"
    )
    result = subprocess.run(["unshare", "--mount", "sh", "-c", probe], capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else f"no overlay can be mounted: {result.stderr.strip()}"


def build_script(
    dockerfile: Dockerfile, *, arguments: Mapping[str, str], checks: Sequence[str], writable: Sequence[str]
) -> str:
    """A shell script that builds all stages, and then runs the checks in the last one as its user.

    Args:
        dockerfile: what to build.
        arguments: over the defaults of ARG.
        checks: commands; the file system is read-only for them.
        writable: folders that are volumes, empty at first.
    """
    parts = [_PRELUDE]
    for number, stage in enumerate(dockerfile.stages):
        parts += _stage_lines(stage, root=_root_of(stage, number), arguments=arguments)
    last = dockerfile.stages[-1]
    parts += _check_lines(last, root=_root_of(last, len(dockerfile.stages) - 1), checks=checks, writable=writable)
    return "\n".join(parts)


def run_script(script: str, *, folder: Path, timeout_seconds: float) -> str:
    """Run it in a mount namespace of its own; returns what it printed.

    Raises:
        AssertionError: a step failed; the message ends with what it said.
    """
    folder.mkdir(exist_ok=True)
    environment = {"PATH": _PATH, "WORK": str(folder)} | _package_index_environment()
    environment |= {"PYTHON_PREFIX": sys.base_prefix, "CONTEXT": str(REPOSITORY)}
    result = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout


def _package_index_environment() -> dict[str, str]:
    """How pip reaches the package index from this machine."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()}


def _root_of(stage: Stage, number: int) -> str:
    return f'"$WORK/{stage.name or number}/root"'


def _stage_lines(stage: Stage, *, root: str, arguments: Mapping[str, str]) -> list[str]:
    name = root.split("/")[1]
    lines = [f"echo '== stage {name}: {stage.base}'", f"begin_stage {name}"]
    environment = [f"env -i HOME=/root DEBIAN_FRONTEND=noninteractive PATH={_PATH}"]
    environment += [f"{key}={shlex.quote(value)}" for key, value in _package_index_environment().items()]
    folder = "/"
    for item in stage.instructions:
        if item.name == "ENV":
            environment += [f"{key}={_quoted(value)}" for key, value in _env_of(item).items()]
        elif item.name == "ARG":
            key, _, default = item.text.partition("=")
            environment.append(f"{key}={_quoted(arguments.get(key, default))}")
        elif item.name == "WORKDIR":
            folder = item.text
            lines.append(f"mkdir -p {root}{folder}")
        elif item.name == "COPY":
            lines.append(_copy_line(item, root=root, folder=folder))
        elif item.name == "RUN":
            command = shlex.quote(f"cd {folder} && {item.text}")
            lines.append(f"echo '-- RUN '{shlex.quote(item.text[:100])}")
            lines.append(f"chroot {root} {' '.join(environment)} sh -euc {command}")
    return lines


def _env_of(item: Instruction) -> dict[str, str]:
    stage = Stage("", "", [item])
    return stage.environment()


def _quoted(value: str) -> str:
    """For the script's shell, which knows no variable of the image but PATH."""
    return shlex.quote(value.replace("$PATH", _PATH))


def _copy_line(item: Instruction, *, root: str, folder: str) -> str:
    *sources, target = item.words()
    where = target if target.startswith("/") else f"{folder}/{target}"
    origin = f'"$WORK/{item.flags["from"]}/root"' if "from" in item.flags else '"$CONTEXT"/'
    if where.endswith("/") or len(sources) > 1:
        copied = " ".join(f"{origin}{source}" for source in sources)
        return f"mkdir -p {root}{where} && cp -r {copied} {root}{where}"
    return f"mkdir -p $(dirname {root}{where}) && cp -rT {origin}{sources[0]} {root}{where}"


def _check_lines(stage: Stage, *, root: str, checks: Sequence[str], writable: Sequence[str]) -> list[str]:
    (user,) = [item.text for item in stage.all_of("USER")]
    uid, _, gid = user.partition(":")
    environment = " ".join(f"{key}={_quoted(value)}" for key, value in stage.environment().items())
    lines = [f"mkdir -p {root}{folder}" for folder in writable]
    lines += [f"mount -o remount,bind,ro {root}"]
    lines += [f"mount -t tmpfs -o mode=1777 tmpfs {root}{folder}" for folder in writable]
    lines += [f"mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm"]
    become = f"setpriv --reuid {uid} --regid {gid} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
    for check in checks:
        command = shlex.quote(f"cd /tmp && {check}")
        lines.append(f"echo '-- CHECK '{shlex.quote(check[:100])}")
        lines.append(f"chroot {root} {become} env -i {environment} bash -euc {command}")
    return lines
