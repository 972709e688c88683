"""Model and instruction sets of this machine's processor."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
# Instructions that multiply 8-bit numbers several times faster than floats.
_INT8_FEATURES = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})


def cpu_features() -> list[str]:
    """The instruction sets for fast inference that this processor has; empty where they cannot be read."""
    present = _cpuinfo("flags", "features").split()
    return [feature for feature in _FEATURES if feature in present]


def has_int8_instructions() -> bool:
    """Whether 8-bit arithmetic is expected to be faster than floats."""
    return not _INT8_FEATURES.isdisjoint(cpu_features())


def processor_name() -> str:
    """The processor's model name; its architecture where the system does not tell."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(*names: str) -> str:
    """The value of the first line with one of these names; empty without one."""
    if not _CPUINFO.is_file():
        return ""
    for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() in names:
            return value.strip()
    return ""
