"""The double keeps CUDA's rules, and has the names and parameters of the real packages."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cuda.bindings import runtime as real  # type: ignore[import-untyped]

from emostream.errors import EngineUnavailableError
from emostream.vision.engines.trt.package import load_package
from tests.cuda_double import gpu_machine, tensorrt
from tests.cuda_double.machine import Machine
from tests.cuda_double.runtime import runtime_module

ERROR, KIND = real.cudaError_t, real.cudaMemcpyKind
MODE = real.cudaStreamCaptureMode


@pytest.fixture
def machine() -> Iterator[Machine]:
    with gpu_machine() as found:
        yield found


@pytest.fixture
def cuda(machine: Machine) -> Any:
    return importlib.import_module("cuda.bindings.runtime")


# --- against the packages ---------------------------------------------------------------------------------------------


def test_the_cuda_functions_have_the_parameters_of_the_package(machine: Machine) -> None:
    ours = {name: call for name, call in vars(runtime_module(machine)).items() if inspect.isfunction(call)}
    assert len(ours) > 15
    for name, call in ours.items():
        assert list(inspect.signature(call).parameters) == list(inspect.signature(getattr(real, name)).parameters), name


def test_without_a_device_the_package_and_its_double_answer_alike() -> None:
    with gpu_machine() as machine:
        machine.devices = ()
        answer = runtime_module(machine).cudaGetDeviceCount()
    real_answer = real.cudaGetDeviceCount()
    assert len(answer) == len(real_answer) == 2
    assert type(answer[0]) is type(real_answer[0])


@pytest.fixture
def package() -> Any:
    try:
        return load_package("tensorrt_rtx").module
    except EngineUnavailableError as exc:
        pytest.skip(str(exc))


_CLASSES = (
    tensorrt.Builder,
    tensorrt.IBuilderConfig,
    tensorrt.INetworkDefinition,
    tensorrt.ITensor,
    tensorrt.OnnxParser,
    tensorrt.ParserError,
    tensorrt.IOptimizationProfile,
    tensorrt.Runtime,
    tensorrt.ICudaEngine,
    tensorrt.IExecutionContext,
    tensorrt.IRuntimeConfig,
    tensorrt.ITimingCache,
)
_ENUMS = (
    tensorrt.TensorIOMode,
    tensorrt.BuilderFlag,
    tensorrt.NetworkDefinitionCreationFlag,
    tensorrt.DataType,
    tensorrt.ExecutionContextAllocationStrategy,
    tensorrt.DynamicShapesKernelSpecializationStrategy,
    tensorrt.ComputeCapability,
)


@pytest.mark.parametrize("ours", _CLASSES)
def test_the_tensorrt_classes_have_the_names_and_parameters_of_the_package(package: Any, ours: type) -> None:
    name, theirs = ours.__name__, getattr(package, ours.__name__)
    inner = {"fill"}  # what the double's own parts call
    for method in (found for found in vars(ours) if not found.startswith("_") and found not in inner):
        assert hasattr(theirs, method), f"{name}.{method}"
        if callable(getattr(ours, method)):
            wanted = list(inspect.signature(getattr(ours, method)).parameters)[1:]
            known = set(re.findall(r"(\w+): ", getattr(theirs, method).__doc__ or ""))
            assert set(wanted) <= known, f"{name}.{method}: {wanted}, documented {sorted(known)}"


@pytest.mark.parametrize("ours", _ENUMS)
def test_the_tensorrt_enums_have_members_of_the_package(package: Any, ours: Any) -> None:
    theirs = getattr(package, ours.__name__)
    for member in ours.__members__:
        assert hasattr(theirs, member), f"{ours.__name__}.{member}"


# --- its rules --------------------------------------------------------------------------------------------------------


def pinned(cuda: Any, machine: Machine, num_bytes: int) -> tuple[int, Any]:
    address = cuda.cudaMallocHost(num_bytes)[1]
    return address, machine.blocks[address].content


def test_work_runs_when_its_stream_is_synchronised(cuda: Any, machine: Machine) -> None:
    stream = cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking)[1]
    device = cuda.cudaMalloc(4)[1]
    (source, given), (target, got) = pinned(cuda, machine, 4), pinned(cuda, machine, 4)
    given[:] = (1, 2, 3, 4)
    got[:] = 0
    assert cuda.cudaMemcpyAsync(device, source, 4, KIND.cudaMemcpyHostToDevice, stream) == (ERROR.cudaSuccess,)
    cuda.cudaMemcpyAsync(target, device, 4, KIND.cudaMemcpyDeviceToHost, stream)
    assert got.tolist() == [0, 0, 0, 0]
    cuda.cudaStreamSynchronize(stream)
    assert got.tolist() == [1, 2, 3, 4]
    assert len(machine.leaks()) == 4
    for call, argument in ((cuda.cudaFree, device), (cuda.cudaFreeHost, source), (cuda.cudaFreeHost, target)):
        assert call(argument) == (ERROR.cudaSuccess,)
    cuda.cudaStreamDestroy(stream)
    assert machine.leaks() == machine.violations == []


def test_copies_need_pinned_memory_and_device_addresses(cuda: Any, machine: Machine) -> None:
    stream = cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking)[1]
    device = cuda.cudaMalloc(4)[1]
    pageable = np.zeros(4, np.uint8)
    for target, count in ((device, 4), (device, 5), (device + 4, 1), (pageable.ctypes.data, 4)):
        answer = cuda.cudaMemcpyAsync(target, pageable.ctypes.data, count, KIND.cudaMemcpyHostToDevice, stream)
        assert answer == (ERROR.cudaErrorInvalidValue,)
    assert len(machine.violations) == 4


def test_a_double_free_and_a_wrong_free_are_noticed(cuda: Any, machine: Machine) -> None:
    device = cuda.cudaMalloc(4)[1]
    assert cuda.cudaFreeHost(device) == (ERROR.cudaErrorInvalidValue,)
    assert cuda.cudaFree(device) == (ERROR.cudaSuccess,)
    assert cuda.cudaFree(device) == (ERROR.cudaErrorInvalidValue,)
    assert len(machine.violations) == 2


def test_memory_freed_before_its_work_ran_breaks_the_process(cuda: Any, machine: Machine) -> None:
    stream = cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking)[1]
    device, (source, _) = cuda.cudaMalloc(4)[1], pinned(cuda, machine, 4)
    cuda.cudaMemcpyAsync(device, source, 4, KIND.cudaMemcpyHostToDevice, stream)
    cuda.cudaFree(device)
    assert cuda.cudaStreamSynchronize(stream) == (ERROR.cudaErrorIllegalAddress,)
    assert cuda.cudaMalloc(4) == (ERROR.cudaErrorIllegalAddress, None)  # and every later call
    assert len(machine.violations) == 2


@pytest.mark.parametrize("breach", ["cudaMalloc", "cudaMallocHost", "cudaStreamSynchronize"])
def test_what_allocates_or_waits_breaks_a_capture(cuda: Any, breach: str) -> None:
    stream = cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking)[1]
    cuda.cudaStreamBeginCapture(stream, MODE.cudaStreamCaptureModeThreadLocal)
    argument = stream if breach == "cudaStreamSynchronize" else 4
    assert getattr(cuda, breach)(argument)[0] == ERROR.cudaErrorStreamCaptureUnsupported
    assert cuda.cudaStreamEndCapture(stream) == (ERROR.cudaErrorStreamCaptureInvalidated, None)
    cuda.cudaStreamBeginCapture(stream, MODE.cudaStreamCaptureModeThreadLocal)
    assert cuda.cudaStreamEndCapture(stream)[0] == ERROR.cudaSuccess


def test_captured_work_runs_when_its_graph_is_launched(cuda: Any, machine: Machine) -> None:
    stream = cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking)[1]
    device, (address, content) = cuda.cudaMalloc(4)[1], pinned(cuda, machine, 4)
    cuda.cudaStreamBeginCapture(stream, MODE.cudaStreamCaptureModeThreadLocal)
    cuda.cudaMemcpyAsync(address, device, 4, KIND.cudaMemcpyDeviceToHost, stream)
    graph = cuda.cudaStreamEndCapture(stream)[1]
    content[:] = 0
    cuda.cudaStreamSynchronize(stream)
    assert content.tolist() == [0] * 4
    launchable = cuda.cudaGraphInstantiate(graph, 0)[1]
    cuda.cudaGraphDestroy(graph)
    cuda.cudaGraphLaunch(launchable, stream)
    cuda.cudaStreamSynchronize(stream)
    assert content.tolist() == [0xA5] * 4  # what lay in new memory
    cuda.cudaGraphExecDestroy(launchable)
    assert cuda.cudaGraphLaunch(launchable, stream) == (ERROR.cudaErrorInvalidValue,)
    assert len(machine.violations) == 1


def test_a_call_that_the_double_does_not_have_raises(cuda: Any) -> None:
    with pytest.raises(AttributeError):
        cuda.cudaMallocManaged(4, 1)
