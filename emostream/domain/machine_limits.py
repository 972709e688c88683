"""The resources that this process may use: its CPU affinity and the limits of its control group."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_NO_MEMORY_LIMIT_BYTES = 1 << 60  # cgroup version 1 has a much larger value for "no limit"


def num_usable_cores(*, cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Number of cores that the process may use: by its affinity, or by its control group's quota if that is less.

    Rounded up: a quota of 1.5 cores counts as 2, one of 0.5 as 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [cores, *_cpu_quotas(cgroup, membership)]
    return max(1, math.ceil(min(quotas)))


def usable_memory_bytes(*, cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Memory of the machine, or the control group's limit if that is less, in bytes.

    `sys.maxsize` on Windows, which does not tell it by Python's own means.
    """
    if sys.platform == "win32":
        return sys.maxsize
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
    """The folders of the process's control groups and their parents, all of whose limits apply."""
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
    yield cgroup  # the container's own group as seen from inside, independent of its membership


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
