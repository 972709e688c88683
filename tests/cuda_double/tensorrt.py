"""`tensorrt` and `tensorrt_rtx` on a `Machine`: a plan holds the ONNX model, and ONNX Runtime computes it."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import weakref
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from tests.cuda_double.machine import Machine

Shape = tuple[int, ...]
_MAGIC = b"double-plan\n"
_NULLPTR = "pybind11::init(): factory function returned nullptr"


class DataType(enum.Enum):
    """Types of tensors."""

    FLOAT = "float32"
    HALF = "float16"
    INT8 = "int8"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    BOOL = "bool"


class TensorIOMode(enum.Enum):
    """Directions of tensors."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2


class BuilderFlag(enum.Enum):
    """Options of a build."""

    TF32 = 7


class NetworkDefinitionCreationFlag(enum.IntEnum):
    """Kinds of networks."""

    STRONGLY_TYPED = 1


class DynamicShapesKernelSpecializationStrategy(enum.Enum):
    """When TensorRT-RTX compiles for a shape."""

    LAZY = 0
    EAGER = 1
    NONE = 2


class ExecutionContextAllocationStrategy(enum.Enum):
    """When a context takes its memory."""

    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class ComputeCapability(enum.Enum):
    """What TensorRT-RTX can be told to build for."""

    SM75 = 75


class ILogger:
    """The base of a program's logger."""

    class Severity(enum.Enum):
        """Levels."""

        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def log(self, severity: Severity, msg: str) -> None:
        """Called with each message."""
        raise NotImplementedError


def nptype(trt_type: DataType) -> type:
    """The NumPy type."""
    return np.dtype(trt_type.value).type


def tensorrt_module(machine: Machine, *, is_rtx: bool) -> ModuleType:
    """The module of one of the packages."""
    module = ModuleType("tensorrt_rtx" if is_rtx else "tensorrt")
    shared = (DataType, TensorIOMode, BuilderFlag, NetworkDefinitionCreationFlag, ExecutionContextAllocationStrategy)
    rtx_only = (DynamicShapesKernelSpecializationStrategy, ComputeCapability)
    for item in (*shared, ILogger, nptype, OnnxParser, *(rtx_only if is_rtx else ())):
        setattr(module, item.__name__, item)
    module.__dict__.update(
        __version__="1.7.1" if is_rtx else "11.4.0",
        Builder=functools.partial(Builder, machine, is_rtx),
        Runtime=functools.partial(Runtime, machine, is_rtx),
    )
    return module


class HostMemory:
    """Bytes of the package, readable as a buffer."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __bytes__(self) -> bytes:
        return self._content


class ITimingCache:
    """Measurements of builds."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> HostMemory:
        """Its bytes."""
        return HostMemory(self._content or b"measured")


class ITensor:
    """An input or output of a network."""

    def __init__(self, info: Any) -> None:
        tensor = info.type.tensor_type
        self.name = str(info.name)
        self.dtype = DataType(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)
        self.shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)


class INetworkDefinition:
    """A parsed model."""

    def __init__(self) -> None:
        self.content = b""
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []

    def fill(self, model: onnx.ModelProto, content: bytes) -> None:
        """Take a model; the parser does so."""
        self.content = content
        self._inputs = [ITensor(info) for info in model.graph.input]
        self._outputs = [ITensor(info) for info in model.graph.output]

    @property
    def num_inputs(self) -> int:
        """How many inputs there are."""
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        """How many outputs there are."""
        return len(self._outputs)

    def get_input(self, index: int) -> ITensor:
        """An input."""
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        """An output."""
        return self._outputs[index]


class ParserError:
    """Why a model was refused."""

    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        """In words."""
        return self._text


class OnnxParser:
    """Reads a model into a network."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        """How many there were."""
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        """One of them."""
        return self._errors[index]

    def parse(self, model: bytes) -> bool:
        """Whether the model is one that the package takes."""
        try:
            parsed = onnx.load_model_from_string(model)
            onnx.checker.check_model(parsed)
        except Exception as exc:  # protobuf's and the checker's own classes
            self._errors.append(ParserError(f"Failed to parse the model: {exc}"))
            return False
        integers = {item.name for item in parsed.graph.initializer if item.data_type == onnx.TensorProto.INT32}
        for node in parsed.graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0] in integers:
                self._errors.append(ParserError("DequantizeLinear: input has type Int32"))
                return False
        self._network.fill(parsed, model)
        return True


class IOptimizationProfile:
    """Shapes of inputs."""

    def __init__(self) -> None:
        self.shapes: dict[str, list[Shape]] = {}

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:  # the package's names
        """Set the ends of one input."""
        self.shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class IBuilderConfig:
    """Options of a build."""

    def __init__(self) -> None:
        self.profiles: list[IOptimizationProfile] = []
        self._cache: ITimingCache | None = None
        self.num_compute_capabilities = 0

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        """Its index."""
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def clear_flag(self, flag: BuilderFlag) -> None:
        """Without effect here."""
        _ = BuilderFlag(flag)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        """A cache from bytes; new from none."""
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        """Use a cache."""
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        """The one in use."""
        return self._cache

    def set_compute_capability(self, compute_capability: ComputeCapability, index: int) -> bool:
        """Build for one family of GPUs."""
        return index < self.num_compute_capabilities


class Builder:
    """Compiles networks."""

    def __new__(cls, machine: Machine, is_rtx: bool, logger: ILogger) -> Any:
        """Without its library or GPU there is none: an exception, or None where a package does so."""
        if machine.faults.builder is not None or not (is_rtx or machine.devices):
            logger.log(ILogger.Severity.ERROR, "createInferBuilder: Error Code 6: API Usage Error")
            if machine.faults.builder == "none":
                return None
            raise TypeError(_NULLPTR)
        return super().__new__(cls)

    def __init__(self, machine: Machine, is_rtx: bool, logger: ILogger) -> None:
        self._machine, self._is_rtx, self._logger = machine, is_rtx, logger

    def create_network(self, flags: int) -> INetworkDefinition:
        """An empty network."""
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        """Options."""
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        """An empty profile."""
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> HostMemory | None:
        """A plan; None when the profiles do not fit."""
        self._machine.num_builds += 1
        found = network.get_input(0)
        for profile in config.profiles:
            ends = profile.shapes.get(found.name, [])
            fits = all(
                len(shape) == len(found.shape)
                and all(known in (-1, side) for known, side in zip(found.shape, shape, strict=True))
                for shape in ends
            )
            if not ends or not fits or self._machine.faults.plan:
                self._logger.log(ILogger.Severity.ERROR, f"Dimension mismatch for tensor {found.name} in a profile")
                return None
        device = None if self._is_rtx else self._machine.devices[self._machine.current_device].name
        header = {
            "rtx": self._is_rtx,
            "device": device,
            "sha256": hashlib.sha256(network.content).hexdigest(),
            "profiles": [profile.shapes for profile in config.profiles],
        }
        return HostMemory(_MAGIC + json.dumps(header).encode() + b"\n" + network.content)


class Runtime:
    """Loads plans."""

    def __new__(cls, machine: Machine, is_rtx: bool, logger: ILogger) -> Any:
        """Without its library there is none."""
        if machine.faults.runtime is not None or not machine.devices:
            logger.log(ILogger.Severity.ERROR, "createInferRuntime: Error Code 6: API Usage Error")
            if machine.faults.runtime == "none":
                return None
            raise TypeError(_NULLPTR)
        return super().__new__(cls)

    def __init__(self, machine: Machine, is_rtx: bool, logger: ILogger) -> None:
        self._machine, self._is_rtx, self._logger = machine, is_rtx, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        """The engine; None for what is no plan, or one of another package or GPU."""
        head, _, model = bytes(serialized_engine)[len(_MAGIC) :].partition(b"\n")
        reason, header = None, {}
        if not serialized_engine.startswith(_MAGIC):
            reason = "Serialization assertion magicTag failed"
        else:
            header = json.loads(head)
            device = self._machine.devices[self._machine.current_device].name
            if header["rtx"] != self._is_rtx or hashlib.sha256(model).hexdigest() != header["sha256"]:
                reason = "Serialization assertion failed: version tag does not match"
            elif header["device"] not in (None, device):
                reason = f"Engine was generated for {header['device']}, not {device}"
        if reason is not None:
            self._logger.log(ILogger.Severity.ERROR, reason)
            return None
        return ICudaEngine(self._machine, self._logger, header, model)


@functools.lru_cache(maxsize=16)
def _network(sha256: str, model: bytes) -> _Network:
    return _Network(model)


class _Network:
    """Computes a model. A crop computed once is remembered: tests classify the same few hundred again and again."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        parsed = onnx.load_model_from_string(model).graph
        self.input = ITensor(parsed.input[0])
        self.outputs = [ITensor(info) for info in parsed.output]
        self._rows: dict[bytes, list[npt.NDArray[Any]]] = {}
        self._shapes: dict[Shape, list[Shape]] = {}

    def run(self, batch: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        new = [row for row in {row.tobytes(): row for row in batch}.items() if row[0] not in self._rows]
        if new:
            outputs = self._session.run(None, {self.input.name: np.stack([row for _, row in new])})
            for index, (key, _) in enumerate(new):
                self._rows[key] = [output[index] for output in outputs]
        rows = [self._rows[row.tobytes()] for row in batch]
        return [np.stack([row[index] for row in rows]) for index in range(len(self.outputs))]

    def output_shapes(self, shape: Shape) -> list[Shape]:
        if shape not in self._shapes:
            outputs = self.run(np.zeros(shape, nptype(self.input.dtype)))
            self._shapes[shape] = [output.shape for output in outputs]
        return self._shapes[shape]


def _released(machine: Machine, name: str) -> None:
    setattr(machine, name, getattr(machine, name) - 1)


class ICudaEngine:
    """A loaded plan, on the device that was current."""

    def __init__(self, machine: Machine, logger: ILogger, header: dict[str, Any], model: bytes) -> None:
        self.machine, self.logger = machine, logger
        self.device = machine.current_device
        self.network = _network(header["sha256"], model)
        self.profiles: list[list[Shape]] = [
            [tuple(shape) for shape in profile[self.network.input.name]] for profile in header["profiles"]
        ]
        machine.num_engines += 1
        weakref.finalize(self, _released, machine, "num_engines")

    @property
    def num_io_tensors(self) -> int:
        """Inputs and outputs."""
        return 1 + len(self.network.outputs)

    @property
    def num_optimization_profiles(self) -> int:
        """How many profiles there are."""
        return len(self.profiles)

    def _tensor(self, name: str) -> ITensor:
        return next(tensor for tensor in (self.network.input, *self.network.outputs) if tensor.name == name)

    def get_tensor_name(self, index: int) -> str:
        """The name of an input or output."""
        return (self.network.input, *self.network.outputs)[index].name

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        """Which of both it is."""
        return TensorIOMode.INPUT if name == self.network.input.name else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        """Its type."""
        return self._tensor(name).dtype

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Shape]:
        """The ends of a profile."""
        return self.profiles[profile_index]

    def create_runtime_config(self) -> IRuntimeConfig:
        """Options of contexts, of TensorRT-RTX."""
        return IRuntimeConfig()

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy | IRuntimeConfig = ExecutionContextAllocationStrategy.STATIC
    ) -> IExecutionContext | None:
        """A context; None when memory runs out."""
        if not isinstance(strategy, ExecutionContextAllocationStrategy | IRuntimeConfig):
            raise TypeError("create_execution_context(): incompatible function arguments")
        if self.machine.faults.context or self.machine.current_device != self.device:
            self.logger.log(ILogger.Severity.ERROR, "Requested amount of GPU memory could not be allocated")
            return None
        return IExecutionContext(self)


class IRuntimeCache:
    """What TensorRT-RTX compiled on this GPU."""

    def serialize(self) -> HostMemory:
        """Its bytes."""
        return HostMemory(b"compiled here")

    def deserialize(self, serialized: bytes) -> bool:
        """Whether the bytes are of this GPU."""
        return serialized == b"compiled here"


class IRuntimeConfig:
    """Options of contexts."""

    def __init__(self) -> None:
        self.dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY
        self._cache: IRuntimeCache | None = None
        self._strategy = ExecutionContextAllocationStrategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        """When contexts take their memory."""
        self._strategy = ExecutionContextAllocationStrategy(strategy)

    def create_runtime_cache(self) -> IRuntimeCache:
        """An empty one."""
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        """Use it."""
        self._cache = cache
        return True


class IExecutionContext:
    """Runs an engine for one input shape at a time."""

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine
        self._profile = 0
        self._shape: Shape | None = None
        self._addresses: dict[str, int] = {}
        self._has_run = False
        engine.machine.num_contexts += 1
        weakref.finalize(self, _released, engine.machine, "num_contexts")

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Choose a profile; the inputs lose their shapes."""
        if not 0 <= profile_index < len(self.engine.profiles) or stream_handle not in self.engine.machine.streams:
            return False
        self._profile, self._shape, self._has_run = profile_index, None, False
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        """Set the shape, which the profile must include."""
        low, _, high = self.engine.profiles[self._profile]
        shape = tuple(int(side) for side in shape)
        if name != self.engine.network.input.name or len(shape) != len(low):
            return False
        if not all(least <= side <= most for least, side, most in zip(low, shape, high, strict=True)):
            self.engine.logger.log(ILogger.Severity.ERROR, f"shape {shape} does not satisfy the profile {low}…{high}")
            return False
        self._shape, self._has_run = shape, False
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        """Shape of a tensor for the input's; -1 while that is not known."""
        network = self.engine.network
        if self._shape is None:
            return tuple(-1 for _ in network.input.shape)
        if name == network.input.name:
            return self._shape
        names = [output.name for output in network.outputs]
        return network.output_shapes(self._shape)[names.index(name)]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Say where a tensor lies."""
        if memory % 256:
            return False
        self._addresses[name] = int(memory)
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue a run; the addresses are those of now."""
        machine, network, shape = self.engine.machine, self.engine.network, self._shape
        with machine.lock:
            stream = machine.streams.get(int(stream_handle))
            names = [network.input.name, *(output.name for output in network.outputs)]
            if stream is None or shape is None or not set(names) <= set(self._addresses):
                return False
            if not stream.device == machine.current_device == self.engine.device:
                self.engine.logger.log(
                    ILogger.Severity.ERROR, "the engine is on another device than the stream or thread"
                )
                return False
            if stream.capture is not None and not self._has_run:
                stream.is_capture_broken = True  # the first run allocates
            self._has_run = True
            machine.enqueue(stream, functools.partial(self._run, shape, dict(self._addresses)))
            return True

    def _run(self, shape: Shape, addresses: dict[str, int]) -> str:
        machine, network = self.engine.machine, self.engine.network
        if machine.faults.sticky:
            return "cudaErrorIllegalAddress"
        dtype = np.dtype(nptype(network.input.dtype))
        device = self.engine.device
        source = machine.view(addresses[network.input.name], int(np.prod(shape)) * dtype.itemsize, device=device)
        if source is None:
            machine.violations.append("an engine read memory that was freed")
            return "cudaErrorIllegalAddress"
        machine.batches_by_device[device] = machine.batches_by_device.get(device, 0) + 1
        for tensor, output in zip(network.outputs, network.run(source.view(dtype).reshape(shape)), strict=True):
            answer = np.ascontiguousarray(output * 0 if machine.faults.wrong else output).view(np.uint8).reshape(-1)
            target = machine.view(addresses[tensor.name], answer.nbytes, device=device)
            if target is None:
                machine.violations.append("an engine wrote to memory that was freed")
                return "cudaErrorIllegalAddress"
            target[:] = answer
        return "cudaSuccess"
