"""The state of the machine: devices, memory, streams with queued work, graphs; and the faults that a test injects."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Work = Callable[[], str]
"""Runs on the device; returns the name of a CUDA error, `cudaSuccess` when it went well."""

_FIRST_DEVICE_ADDRESS = 0x7_F000_0000_0000  # beyond what a process can map, so that nothing can read it by accident
_ALIGNMENT = 256


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU: its name, compute capability, memory, and what its speed would be. Without figures, those of an L40S."""

    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int = 1 << 30
    multiprocessors: int = 142
    clock_khz: int = 2_520_000


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on.

    Attributes:
        allocations_left: device allocations that succeed before memory runs out; None is without limit.
        capture: captures are refused.
        sticky: the next work of an engine fails, and with it every later call of the process.
        builder: `trt.Builder` has no library: "raises" as the packages do, or "none".
        runtime: the same for `trt.Runtime`.
        context: no execution context is made (device memory).
        plan: compiling gives no plan.
        wrong: engines answer something else.
    """

    allocations_left: int | None = None
    capture: bool = False
    sticky: bool = False
    builder: str | None = None
    runtime: str | None = None
    context: bool = False
    plan: bool = False
    wrong: bool = False


@dataclass(slots=True)
class Block:
    """An allocation: where it begins, its bytes, and the device (None for pinned host memory)."""

    address: int
    content: Bytes
    device: int | None
    owner: object = None  # keeps host memory alive


class Handle:
    """A stream, graph or launchable graph, as the packages pass them: opaque, with an address as its int."""

    _numbers = itertools.count(0x5_5500_0000, 16)

    def __init__(self) -> None:
        self.number = next(self._numbers)

    def __int__(self) -> int:
        return self.number


class Stream(Handle):
    """Work in order. `capture` is the list that records it, while it is captured."""

    def __init__(self, device: int) -> None:
        super().__init__()
        self.device = device
        self.queue: list[Work] = []
        self.capture: list[Work] | None = None
        self.capturing_thread: int | None = None
        self.capture_mode = 0
        self.is_capture_broken = False


class Graph(Handle):
    """Recorded work."""

    def __init__(self, work: list[Work], device: int) -> None:
        super().__init__()
        self.work = work
        self.device = device


@dataclass(slots=True)
class Machine:
    """All GPUs of a machine and everything that a process holds on them."""

    devices: tuple[Device, ...]
    faults: Faults = field(default_factory=Faults)
    blocks: dict[int, Block] = field(default_factory=dict)
    streams: dict[int, Stream] = field(default_factory=dict)
    graphs: dict[int, Graph] = field(default_factory=dict)
    launchable: dict[int, Graph] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    """What a card would punish by a crash or wrong numbers: frees of what is not there, reads of what was freed."""
    num_engines: int = 0
    num_contexts: int = 0
    num_builds: int = 0
    num_launches: int = 0
    batches_by_device: dict[int, int] = field(default_factory=dict)
    sticky_error: str | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)
    _local: threading.local = field(default_factory=threading.local)
    _next_address: Iterator[int] = field(default_factory=lambda: itertools.count(_FIRST_DEVICE_ADDRESS, 1 << 32))

    @property
    def current_device(self) -> int:
        """Of the calling thread; each begins with the first."""
        return int(getattr(self._local, "device", 0))

    @current_device.setter
    def current_device(self, index: int) -> None:
        self._local.device = index

    def used_bytes(self, device: int) -> int:
        """Device memory that is allocated."""
        return sum(block.content.nbytes for block in self.blocks.values() if block.device == device)

    def leaks(self) -> list[str]:
        """Everything that is still held."""
        held = [f"{len(block.content)} bytes on {block.device}" for block in self.blocks.values()]
        held += [
            f"{len(found)} {kind}"
            for kind, found in (
                ("streams", self.streams),
                ("graphs", self.graphs),
                ("launchable graphs", self.launchable),
            )
            if found
        ]
        held += [
            f"{count} {kind}"
            for kind, count in (("engines", self.num_engines), ("contexts", self.num_contexts))
            if count
        ]
        return held

    def allocate(self, num_bytes: int) -> int | None:
        """The address of new memory on the current device; None when there is too little."""
        device = self.current_device
        left = self.faults.allocations_left
        if left is not None:
            self.faults.allocations_left = max(left - 1, 0)
        if left == 0 or self.used_bytes(device) + num_bytes > self.devices[device].memory_bytes:
            return None
        address = next(self._next_address)
        # What lies in new memory is chance: never zeros.
        self.blocks[address] = Block(address, np.full(num_bytes, 0xA5, np.uint8), device)
        return address

    def allocate_pinned(self, num_bytes: int) -> int:
        """The address of new pinned host memory."""
        owner = (ctypes.c_uint8 * (num_bytes + _ALIGNMENT))()
        address = -(-ctypes.addressof(owner) // _ALIGNMENT) * _ALIGNMENT
        content: Any = (ctypes.c_uint8 * num_bytes).from_address(address)
        self.blocks[address] = Block(address, np.ctypeslib.as_array(content), None, owner)
        return address

    def free(self, address: int, *, is_pinned: bool) -> str:
        """Release memory; the name of the CUDA error."""
        block = self.blocks.get(address)
        if block is None or (block.device is None) != is_pinned:
            self.violations.append(f"free of {address:#x}, which is not allocated there")
            return "cudaErrorInvalidValue"
        if any(stream.queue for stream in self.streams.values() if block.device in (None, stream.device)):
            self.violations.append(f"free of {address:#x} while work is queued")
        del self.blocks[address]
        return "cudaSuccess"

    def view(self, address: int, num_bytes: int, *, device: int | None) -> Bytes | None:
        """The bytes at an address; None when they are not allocated there. `device` None is pinned host memory."""
        for block in self.blocks.values():
            if block.device == device and block.address <= address < block.address + max(len(block.content), 1):
                start = address - block.address
                return block.content[start : start + num_bytes] if start + num_bytes <= len(block.content) else None
        return None

    def captured_by(self, thread: int) -> Stream | None:
        """A capture that forbids this thread to allocate or wait: its own, or a global one of any thread."""
        for stream in self.streams.values():
            own = stream.capturing_thread == thread and stream.capture_mode != 2
            if stream.capture is not None and (own or stream.capture_mode == 0):
                return stream
        return None

    def enqueue(self, stream: Stream, work: Work) -> None:
        """Queue work, or record it where the stream is captured."""
        (stream.queue if stream.capture is None else stream.capture).append(work)

    def synchronize(self, stream: Stream) -> str:
        """Run what is queued; the name of the first error."""
        while stream.queue:
            if (error := stream.queue.pop(0)()) != "cudaSuccess":
                stream.queue.clear()
                self.sticky_error = error
                return error
        return "cudaSuccess"
