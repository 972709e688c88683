"""What this machine's processor is and can do."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
# Instructions that multiply 8-bit numbers several times faster than floats.
_INT8_FEATURES = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})


def cpu_features() -> list[str]:
    """Which of the instruction sets that speed up inference are there; empty where it cannot be told."""
    present = _cpuinfo("flags", "features").split()
    return [feature for feature in _FEATURES if feature in present]


def has_int8_instructions() -> bool:
    """Whether 8-bit arithmetic can be expected to be faster than floats."""
    return not _INT8_FEATURES.isdisjoint(cpu_features())


def processor_name() -> str:
    """The processor's model, as far as the system tells."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(*names: str) -> str:
    """The first value under one of these names."""
    if not _CPUINFO.is_file():
        return ""
    for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() in names:
            return value.strip()
    return ""
