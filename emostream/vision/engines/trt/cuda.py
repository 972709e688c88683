"""The only access to CUDA: the GPU, host and device memory, streams, and graphs.

Uses `cuda-bindings`, NVIDIA's thin layer over the CUDA runtime. TensorRT needs no more; torch or CuPy would add
gigabytes for a few allocations.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emostream.errors import EngineUnavailableError, InferenceError


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that engines are built for.

    Attributes:
        name: as NVIDIA names it.
        compute_capability: (major, minor).
        driver_cuda: newest CUDA version that the driver supports, for example "13.0".
        index: among the GPUs that this process sees. Engines are those of a kind of GPU, so it is not part of the text.
    """

    name: str
    compute_capability: tuple[int, int]
    driver_cuda: str
    index: int = 0

    def __str__(self) -> str:
        major, minor = self.compute_capability
        return f"{self.name} ({major}.{minor}), CUDA {self.driver_cuda}"


def is_gpu_given(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process was given a GPU, so that computing on the CPU is a surprise; whether it works is not asked.

    Ray and users name GPUs in `CUDA_VISIBLE_DEVICES`, which may also take all away; NVIDIA's container runtime and
    images for GPUs have `NVIDIA_VISIBLE_DEVICES`.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return visible.strip().lower() not in ("", "-1", "nodevfiles")
    return environment.get("NVIDIA_VISIBLE_DEVICES", "").strip().lower() not in ("", "none", "void")


def find_gpu() -> Gpu:
    """The first GPU that this process sees. Errors as for `find_gpus`."""
    return find_gpus()[0]


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that this process sees (`CUDA_VISIBLE_DEVICES`), at least one.

    Raises:
        EngineUnavailableError: there is no GPU, its driver is missing or too old, or `cuda-bindings` is not installed.
    """
    runtime = _runtime()
    error, count = runtime.cudaGetDeviceCount()
    if error != runtime.cudaError_t.cudaSuccess or not count:
        reason = error.name if error != runtime.cudaError_t.cudaSuccess else "no device"
        raise EngineUnavailableError(f"no NVIDIA GPU can be used ({reason}); check that GPU and driver are installed")
    version = int(checked(runtime.cudaDriverGetVersion()))
    driver_cuda = f"{version // 1000}.{version % 1000 // 10}"
    found = [(index, checked(runtime.cudaGetDeviceProperties(index))) for index in range(int(count))]
    return tuple(
        Gpu(
            name=properties.name.decode().rstrip("\0"),
            compute_capability=(int(properties.major), int(properties.minor)),
            driver_cuda=driver_cuda,
            index=index,
        )
        for index, properties in found
    )


def use_gpu(gpu: Gpu) -> None:
    """Make the calling thread's next calls go to this GPU; each thread begins with the first.

    Raises:
        InferenceError: CUDA failed.
    """
    checked(_runtime().cudaSetDevice(gpu.index))


# Dense FP16 operations of the matrix units in a clock cycle of one multiprocessor, by compute capability; from NVIDIA's
# data sheets of V100, T4, A100, A10, L40S, H100, B200 and RTX 5090: peak ÷ (multiprocessors × boost clock).
_HALF_OPERATIONS = {
    (7, 0): 1024,
    (7, 5): 1024,
    (8, 0): 2048,
    (8, 6): 1024,
    (8, 9): 1024,
    (9, 0): 4096,
    (10, 0): 8192,
    (12, 0): 1024,
}


def peak_half_flops(gpu: Gpu) -> float | None:
    """FP16 operations per second of a GPU's matrix units at its highest clock; None for a kind that is not known here.

    Raises:
        InferenceError: CUDA failed.
    """
    operations = _HALF_OPERATIONS.get(gpu.compute_capability)
    if operations is None:
        return None
    runtime = _runtime()
    attribute = runtime.cudaDeviceAttr
    units, kilohertz = (
        int(checked(runtime.cudaDeviceGetAttribute(wanted, gpu.index)))
        for wanted in (attribute.cudaDevAttrMultiProcessorCount, attribute.cudaDevAttrClockRate)
    )
    return 1000.0 * kilohertz * units * operations


def _runtime() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ModuleNotFoundError as exc:
        raise EngineUnavailableError(
            "package cuda-bindings is not installed; install the extra: `pip install 'emostream[gpu]'`"
        ) from exc


def checked(result: tuple[Any, ...]) -> Any:
    """The value of a CUDA call, which returns its status first.

    Raises:
        InferenceError: the call failed.
    """
    status, *values = result
    if int(status) != 0:
        raise InferenceError(f"CUDA failed: {status.name}")
    return values[0] if values else None


class CudaStream:
    """A CUDA stream and the memory allocated for it. Not thread-safe; `close` releases everything."""

    def __init__(self) -> None:
        self._runtime = _runtime()
        self._stream = checked(self._runtime.cudaStreamCreateWithFlags(self._runtime.cudaStreamNonBlocking))
        self._releases: list[Callable[[], Any]] = [lambda: self._runtime.cudaStreamDestroy(self._stream)]

    @property
    def handle(self) -> int:
        """The stream's address, as TensorRT takes it."""
        return int(self._stream)

    def device_buffer(self, num_bytes: int) -> int:
        """Allocate device memory and return its address."""
        address = int(checked(self._runtime.cudaMalloc(num_bytes)))
        self._releases.append(lambda: self._runtime.cudaFree(address))
        return address

    def pinned_array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Allocate a zeroed array in pinned host memory, which the GPU copies from and to directly."""
        num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(checked(self._runtime.cudaMallocHost(num_bytes)))
        self._releases.append(lambda: self._runtime.cudaFreeHost(address))
        memory = memoryview((ctypes.c_uint8 * num_bytes).from_address(address)).cast("B")
        array: npt.NDArray[Any] = np.frombuffer(memory, dtype=np.dtype(dtype)).reshape(shape)
        array[...] = 0
        return array

    def copy_to_device(self, target: int, source: npt.NDArray[Any]) -> None:
        """Queue a copy of a pinned array to a device address."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        checked(self._runtime.cudaMemcpyAsync(target, source.ctypes.data, source.nbytes, kind, self._stream))

    def copy_to_host(self, target: npt.NDArray[Any], source: int) -> None:
        """Queue a copy from a device address to a pinned array."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked(self._runtime.cudaMemcpyAsync(target.ctypes.data, source, target.nbytes, kind, self._stream))

    def wait(self) -> None:
        """Block until all queued work is done."""
        checked(self._runtime.cudaStreamSynchronize(self._stream))

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture the work that `work` queues as a CUDA graph, without running it. The result launches the graph.

        Raises:
            InferenceError: some of it cannot be captured. The stream can still be used.
        """
        runtime = self._runtime
        # Thread-local mode: other threads of this process may allocate during the capture.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(runtime.cudaStreamBeginCapture(self._stream, mode))
        try:
            work()
        finally:
            ended = runtime.cudaStreamEndCapture(self._stream)  # always, or the stream stays in this mode
        graph = checked(ended)
        executable = checked(runtime.cudaGraphInstantiate(graph, 0))
        checked(runtime.cudaGraphDestroy(graph))
        self._releases.append(lambda: runtime.cudaGraphExecDestroy(executable))
        return lambda: checked(runtime.cudaGraphLaunch(executable, self._stream))

    def close(self) -> None:
        """Release graphs, memory and stream, newest first. Safe to call twice."""
        while self._releases:
            self._releases.pop()()
