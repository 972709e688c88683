"""Stands in for a machine with NVIDIA GPUs: `cuda.bindings.runtime`, `tensorrt` and `tensorrt_rtx`, in host memory.

Not a fast GPU but a strict one: queued work runs only when its stream is synchronised, device addresses cannot be read,
copies need pinned memory, captures refuse what CUDA refuses in them, work belongs to the device of its stream, and what
is not released is listed. ONNX Runtime computes the engines. `test_double.py` holds names and parameters against the
real packages.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

from emostream.vision.engines.trt.package import load_package
from tests.cuda_double.machine import Device, Machine
from tests.cuda_double.runtime import runtime_module
from tests.cuda_double.tensorrt import tensorrt_module

L40 = Device("NVIDIA L40S", (8, 9))
"""A card that both packages support."""


@contextlib.contextmanager
def gpu_machine(*devices: Device) -> Iterator[Machine]:
    """A machine with these devices (one L40S without any), in place of the packages that are installed here."""
    machine = Machine(devices or (L40,))
    modules: dict[str, ModuleType] = {
        "cuda.bindings.runtime": runtime_module(machine),
        "tensorrt": tensorrt_module(machine, is_rtx=False),
        "tensorrt_rtx": tensorrt_module(machine, is_rtx=True),
    }
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    load_package.cache_clear()
    try:
        yield machine
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
        load_package.cache_clear()
