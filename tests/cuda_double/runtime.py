"""`cuda.bindings.runtime` on a `Machine`. The enums are the package's own."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from cuda.bindings import runtime as real  # type: ignore[import-untyped]

from tests.cuda_double.machine import Graph, Machine, Stream


class _Refused(Exception):  # noqa: N818  # the name of a CUDA error, not an error of this program
    """A call that returns this CUDA error."""


def runtime_module(machine: Machine) -> ModuleType:
    """The module; every function returns its status first, as a tuple."""
    module = ModuleType("cuda.bindings.runtime")
    for name in ("cudaError_t", "cudaDeviceAttr", "cudaMemcpyKind", "cudaStreamCaptureMode", "cudaStreamNonBlocking"):
        setattr(module, name, getattr(real, name))
    for name in dir(_Runtime):
        if name.startswith("cuda"):
            setattr(module, name, _call(machine, getattr(_Runtime(machine), name)))
    return module


def _call(machine: Machine, method: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """With the lock held; a sticky error answers every call."""

    @functools.wraps(method)
    def call(*arguments: Any) -> tuple[Any, ...]:
        with machine.lock:
            try:
                if machine.sticky_error is not None:
                    raise _Refused(machine.sticky_error)
                answer = method(*arguments)
            except _Refused as exc:
                empty = () if method.__name__ in _WITHOUT_RESULT else (None,)
                return (getattr(real.cudaError_t, str(exc)), *empty)
        return (real.cudaError_t.cudaSuccess,) if answer is None else (real.cudaError_t.cudaSuccess, answer)

    return call


_WITHOUT_RESULT = frozenset(
    {
        "cudaSetDevice",
        "cudaStreamDestroy",
        "cudaFree",
        "cudaFreeHost",
        "cudaMemcpyAsync",
        "cudaStreamSynchronize",
        "cudaStreamBeginCapture",
        "cudaGraphDestroy",
        "cudaGraphExecDestroy",
        "cudaGraphLaunch",
    }
)


class _Runtime:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    # --- devices ------------------------------------------------------------------------------------------------------

    def cudaGetDeviceCount(self) -> int:
        if not self._machine.devices:
            raise _Refused("cudaErrorNoDevice")
        return len(self._machine.devices)

    def cudaGetDeviceProperties(self, device: int) -> Any:
        found = self._machine.devices[self._known(device)]
        major, minor = found.compute_capability
        name = found.name.encode().ljust(256, b"\0")
        return SimpleNamespace(name=name, major=major, minor=minor, totalGlobalMem=found.memory_bytes)

    def cudaDeviceGetAttribute(self, attr: Any, device: int) -> int:
        found = self._machine.devices[self._known(device)]
        if attr == real.cudaDeviceAttr.cudaDevAttrMultiProcessorCount:
            return found.multiprocessors
        if attr == real.cudaDeviceAttr.cudaDevAttrClockRate:
            return found.clock_khz
        raise NotImplementedError(f"the double does not know attribute {attr}")

    def cudaDriverGetVersion(self) -> int:
        return 13000

    def cudaSetDevice(self, device: int) -> None:
        self._machine.current_device = self._known(device)

    def cudaGetDevice(self) -> int:
        return self._machine.current_device

    def _known(self, device: int) -> int:
        if not 0 <= device < len(self._machine.devices):
            raise _Refused("cudaErrorInvalidDevice")
        return device

    # --- memory -------------------------------------------------------------------------------------------------------

    def cudaMalloc(self, size: int) -> int:
        self._outside_capture()
        address = self._machine.allocate(size)
        if address is None:
            raise _Refused("cudaErrorMemoryAllocation")
        return address

    def cudaFree(self, devPtr: int) -> None:
        self._outside_capture()
        self._require(self._machine.free(devPtr, is_pinned=False))

    def cudaMallocHost(self, size: int) -> int:
        self._outside_capture()
        return self._machine.allocate_pinned(size)

    def cudaFreeHost(self, ptr: int) -> None:
        self._outside_capture()
        self._require(self._machine.free(ptr, is_pinned=True))

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: Any, stream: Any) -> None:
        machine, queue = self._machine, self._stream(stream)
        to_device, to_host = real.cudaMemcpyKind.cudaMemcpyHostToDevice, real.cudaMemcpyKind.cudaMemcpyDeviceToHost
        if kind not in (to_device, to_host):
            raise NotImplementedError(f"the double copies between host and device only, got {kind}")
        where = {"dst": queue.device, "src": None} if kind == to_device else {"dst": None, "src": queue.device}

        def copy() -> str:
            target = machine.view(dst, count, device=where["dst"])
            source = machine.view(src, count, device=where["src"])
            if target is None or source is None:
                machine.violations.append("queued copy from or to memory that was freed")
                return "cudaErrorIllegalAddress"
            target[:] = source
            return "cudaSuccess"

        for name, address in (("dst", dst), ("src", src)):
            if machine.view(address, count, device=where[name]) is None:
                # CUDA copies pageable memory as well, but waits meanwhile: here that is a mistake.
                machine.violations.append(
                    f"{name} of a copy is not {'device' if where[name] is not None else 'pinned'} memory"
                )
                raise _Refused("cudaErrorInvalidValue")
        machine.enqueue(queue, copy)

    # --- streams ------------------------------------------------------------------------------------------------------

    def cudaStreamCreateWithFlags(self, flags: int) -> Stream:
        if flags != real.cudaStreamNonBlocking:
            raise NotImplementedError("the double has non-blocking streams only")
        stream = Stream(self._machine.current_device)
        self._machine.streams[int(stream)] = stream
        return stream

    def cudaStreamDestroy(self, stream: Any) -> None:
        found = self._stream(stream)
        del self._machine.streams[int(found)]

    def cudaStreamSynchronize(self, stream: Any) -> None:
        found = self._stream(stream)
        if found.capture is not None:
            found.is_capture_broken = True
            raise _Refused("cudaErrorStreamCaptureUnsupported")
        self._require(self._machine.synchronize(found))

    # --- graphs -------------------------------------------------------------------------------------------------------

    def cudaStreamBeginCapture(self, stream: Any, mode: Any) -> None:
        found = self._stream(stream)
        if found.capture is not None:
            raise _Refused("cudaErrorIllegalState")
        found.capture, found.capturing_thread, found.capture_mode = [], threading.get_ident(), int(mode)
        found.is_capture_broken = self._machine.faults.capture

    def cudaStreamEndCapture(self, stream: Any) -> Graph:
        found = self._stream(stream)
        if found.capture is None:
            raise _Refused("cudaErrorIllegalState")
        if found.capturing_thread != threading.get_ident() and found.capture_mode != 2:
            raise _Refused("cudaErrorStreamCaptureWrongThread")
        work, found.capture = found.capture, None
        if found.is_capture_broken:
            raise _Refused("cudaErrorStreamCaptureInvalidated")
        graph = Graph(work, found.device)
        self._machine.graphs[int(graph)] = graph
        return graph

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> Graph:
        if flags != 0:
            raise NotImplementedError("the double knows no flags of cudaGraphInstantiate")
        self._outside_capture()
        if int(graph) not in self._machine.graphs:
            raise _Refused("cudaErrorInvalidValue")
        made = Graph(list(graph.work), graph.device)
        self._machine.launchable[int(made)] = made
        return made

    def cudaGraphDestroy(self, graph: Any) -> None:
        self._remove(self._machine.graphs, graph, "graph")

    def cudaGraphExecDestroy(self, graphExec: Any) -> None:
        self._remove(self._machine.launchable, graphExec, "launchable graph")

    def cudaGraphLaunch(self, graphExec: Any, stream: Any) -> None:
        queue, graph = self._stream(stream), self._machine.launchable.get(int(graphExec))
        if graph is None:
            self._machine.violations.append("launch of a graph that was destroyed")
            raise _Refused("cudaErrorInvalidValue")
        if graph.device != queue.device:
            raise _Refused("cudaErrorInvalidValue")
        self._machine.num_launches += 1
        for work in graph.work:
            self._machine.enqueue(queue, work)

    # --- rules --------------------------------------------------------------------------------------------------------

    def _stream(self, stream: Any) -> Stream:
        found = self._machine.streams.get(int(stream))
        if found is None:
            self._machine.violations.append("use of a stream that was destroyed")
            raise _Refused("cudaErrorInvalidResourceHandle")
        return found

    def _outside_capture(self) -> None:
        """What waits or allocates breaks a capture."""
        if (stream := self._machine.captured_by(threading.get_ident())) is not None:
            stream.is_capture_broken = True
            raise _Refused("cudaErrorStreamCaptureUnsupported")

    def _remove(self, held: dict[int, Graph], graph: Any, what: str) -> None:
        if held.pop(int(graph), None) is None:
            self._machine.violations.append(f"{what} destroyed twice")
            raise _Refused("cudaErrorInvalidValue")

    @staticmethod
    def _require(error: str) -> None:
        if error != "cudaSuccess":
            raise _Refused(error)
