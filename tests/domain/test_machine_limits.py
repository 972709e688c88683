"""Cores and memory that a process may use, by its affinity and by made trees of control groups of both versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emostream.domain.machine_limits import num_usable_cores, usable_memory_bytes
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
