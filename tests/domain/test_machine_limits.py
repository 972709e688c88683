"""Cores and memory that a process may use, by its affinity and by made trees of control groups of both versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emostream.domain.machine_limits import CpuLoad, num_usable_cores, usable_memory_bytes
from tests.conftest import REPOSITORY

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MACHINE_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def limits_of(tmp_path: Path, membership: str, files: dict[str, str]) -> tuple[int, int]:
    """Cores and bytes with these files under the root of the control groups."""
    root = tmp_path / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "membership").write_text(membership)
    where = {"cgroup": root, "membership": tmp_path / "membership"}
    return num_usable_cores(**where), usable_memory_bytes(**where)


@pytest.mark.parametrize(
    ("membership", "files", "cores", "memory"),
    [
        ("0::/\n", {}, CORES, MACHINE_BYTES),
        ("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"}, CORES, MACHINE_BYTES),
        ("0::/\n", {"cpu.max": "100000 100000\n", "memory.max": "1000000\n"}, 1, 1_000_000),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1, MACHINE_BYTES),
        ("0::/\n", {"cpu.max": "9900000 100000\n", "memory.max": str(MACHINE_BYTES * 9)}, CORES, MACHINE_BYTES),
        ("0::/pods/mine\n", {"pods/cpu.max": "100000 100000\n", "pods/mine/cpu.max": "max 100000\n"}, 1, MACHINE_BYTES),
        ("0::/pods/mine\n", {"pods/mine/memory.max": "700\n", "pods/memory.max": "500\n"}, CORES, 500),
        (
            "4:memory:/docker/x\n1:cpu,cpuacct:/docker/x\n",
            {
                "cpu,cpuacct/docker/x/cpu.cfs_quota_us": "50000\n",
                "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
                "memory/docker/x/memory.limit_in_bytes": "4096\n",
            },
            1,
            4096,
        ),
        (
            "4:memory:/\n1:cpu:/\n",
            {
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            CORES,
            MACHINE_BYTES,
        ),
        # A container of version 1 sees its own group at the root, and the host's path of it in its membership.
        (
            "4:memory:/docker/x\n1:cpu:/docker/x\n",
            {
                "cpu/cpu.cfs_quota_us": "100000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "4096\n",
            },
            1,
            4096,
        ),
        ("nonsense\n0::/../other\n", {"cpu.max": "what\n", "memory.max": "-5\n"}, CORES, MACHINE_BYTES),
    ],
)
def test_the_tightest_limit_counts(
    tmp_path: Path, membership: str, files: dict[str, str], cores: int, memory: int
) -> None:
    assert limits_of(tmp_path, membership, files) == (cores, memory)


def test_a_part_of_a_core_is_one_more(tmp_path: Path) -> None:
    if CORES < 2:
        pytest.skip("needs two cores")
    assert limits_of(tmp_path, "0::/\n", {"cpu.max": "110000 100000\n"})[0] == 2


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    nowhere = {"cgroup": tmp_path / "none", "membership": tmp_path / "none"}
    assert (num_usable_cores(**nowhere), usable_memory_bytes(**nowhere)) == (CORES, MACHINE_BYTES)


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_doctor_and_the_benches_count_the_cores_that_are_left() -> None:
    code = (
        "import json, os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from emostream.cli.bench.machine import describe_machine\n"
        "from emostream.cli.doctor import diagnose\n"
        "from emostream.config import Settings\n"
        "print(json.dumps([describe_machine()['num_cores'], diagnose(Settings())['machine']['num_cores']]))"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, 1]


def stat_of(busy: int, idle: int) -> str:
    """Of a machine, in ticks of all cores: user, nice, system, idle, waiting for disks, …, and a line per core."""
    return f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1 1 0 0 0 0 0\n"


@pytest.mark.parametrize(
    ("busy", "idle", "quota", "used_seconds", "share"),
    [
        (50, 50, "", 0, 0.5),
        (0, 100, "", 0, 0.0),
        (100, 0, "", 0, 1.0),
        (50, 50, "200000 100000", 20, 1.0),  # two cores for ten seconds
        (50, 50, "200000 100000", 5, 0.5),
        (50, 50, "200000 100000", 15, 0.75),
        (50, 50, "max 100000", 20, 0.5),
    ],
)
def test_how_busy_the_cores_are(
    tmp_path: Path, busy: int, idle: int, quota: str, used_seconds: int, share: float
) -> None:
    group = tmp_path / "cgroup" / "mine"
    group.mkdir(parents=True)
    (tmp_path / "membership").write_text("0::/mine\n")
    if quota:
        (group / "cpu.max").write_text(quota)
    times, now = tmp_path / "stat", [100.0]
    times.write_text(stat_of(1000, 2000))
    (group / "cpu.stat").write_text("usage_usec 7000000\nuser_usec 1\n")
    load = CpuLoad(cgroup=tmp_path / "cgroup", membership=tmp_path / "membership", times=times, clock=lambda: now[0])
    assert load.busy_share() == 0, "no time has passed"
    times.write_text(stat_of(1000 + busy, 2000 + idle))
    (group / "cpu.stat").write_text(f"usage_usec {(7 + used_seconds) * 1_000_000}\nuser_usec 1\n")
    now[0] += 10
    assert load.busy_share() == pytest.approx(share)


def test_a_system_that_does_not_tell_how_busy_it_is(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    assert CpuLoad(cgroup=nothing, membership=nothing, times=nothing).busy_share() == 0
