"""What of this machine the process may use: its affinity and the limits of its control group, not what is built in."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_NO_MEMORY_LIMIT_BYTES = 1 << 60  # what version 1 writes for "none" is far above


def num_usable_cores(*, cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Cores that the process may keep busy: those it may run on, or the quota of its control group where that is less.

    A part of a core counts as one: a quota of 1.5 cores is 2 here, and one of 0.5 is 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [cores, *_cpu_quotas(cgroup, membership)]
    return max(1, math.ceil(min(quotas)))


def usable_memory_bytes(*, cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Memory of the machine, or the limit of the control group where that is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_memory_limits(cgroup, membership)]
    return min(limits)


def _cpu_quotas(cgroup: Path, membership: Path) -> Iterator[float]:
    for folder in _groups(cgroup, membership, controller="cpu"):
        quota, _, period = _text_of(folder / "cpu.max").partition(" ")  # version 2
        if not quota:
            quota, period = _text_of(folder / "cpu.cfs_quota_us"), _text_of(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):  # neither `max` nor -1
            yield int(quota) / int(period)


def _memory_limits(cgroup: Path, membership: Path) -> Iterator[int]:
    for folder in _groups(cgroup, membership, controller="memory"):
        limit = _text_of(folder / "memory.max") or _text_of(folder / "memory.limit_in_bytes")
        if limit.isdigit() and int(limit) < _NO_MEMORY_LIMIT_BYTES:
            yield int(limit)


def _groups(cgroup: Path, membership: Path, *, controller: str) -> Iterator[Path]:
    """The folders of the process's control groups, each with those above it: the tightest limit of them counts."""
    for line in _text_of(membership).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":  # version 2, alone or beside version 1
            root = cgroup
        elif controller in controllers.split(","):
            root = cgroup / controllers if (cgroup / controllers).is_dir() else cgroup / controller
        else:
            continue
        folder = root / path.lstrip("/")
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(root))
    yield cgroup  # what a container sees of its own group, whatever its membership says


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
