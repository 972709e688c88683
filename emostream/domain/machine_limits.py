"""The resources that this process may use: its CPU affinity and the limits of its control group, and their load."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_TIMES = Path("/proc/stat")
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


class CpuLoad:
    """How busy the cores are that this process may use: those of the machine, or of a control group with a quota.

    Args:
        cgroup, membership, times: files of the Linux kernel.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        cgroup: Path = _CGROUP,
        membership: Path = _MEMBERSHIP,
        times: Path = _TIMES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cgroup, self._membership, self._times = cgroup, membership, times
        self._clock = clock
        self._before = self._counters()

    def busy_share(self) -> float:
        """The share of their time since the last call in which they were busy, 0 to 1: the greatest of the machine and
        of the groups. 0 where the system does not tell."""
        before, self._before = self._before, self._counters()
        shares = [
            (busy - before[name][0]) / (passed - before[name][1])
            for name, (busy, passed) in self._before.items()
            if name in before and passed > before[name][1]
        ]
        return min(1.0, max(shares, default=0.0))

    def _counters(self) -> dict[Path, tuple[float, float]]:
        """Busy and passed time of the machine and of each group, in a unit of their own."""
        found = {}
        line, *_ = _text_of(self._times).partition("\n")
        ticks = [float(text) for text in line.split()[1:9] if text.isdigit()]  # guests are in `user` and `nice`
        if len(ticks) >= 5:
            found[self._times] = (sum(ticks) - ticks[3] - ticks[4], sum(ticks))  # without idle and waiting for disks
        for folder, quota in _quotas_by_group(self._cgroup, self._membership):
            usage = dict(line.split(" ", 1) for line in _text_of(folder / "cpu.stat").splitlines() if " " in line)
            if usage.get("usage_usec", "").isdigit():  # version 2
                found[folder] = (int(usage["usage_usec"]) / 1e6, quota * self._clock())
        return found


def _cpu_quotas(cgroup: Path, membership: Path) -> Iterator[float]:
    for _, quota in _quotas_by_group(cgroup, membership):
        yield quota


def _quotas_by_group(cgroup: Path, membership: Path) -> Iterator[tuple[Path, float]]:
    for folder in _groups(cgroup, membership, controller="cpu"):
        quota, _, period = _text_of(folder / "cpu.max").partition(" ")  # version 2
        if not quota:
            quota, period = _text_of(folder / "cpu.cfs_quota_us"), _text_of(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):  # neither `max` nor -1
            yield folder, int(quota) / int(period)


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
