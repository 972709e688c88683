"""Runs an engine on the GPU."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from emostream.errors import EngineUnavailableError, InferenceError, ManifestError
from emostream.vision.engines.trt.cuda import CudaStream, find_gpu
from emostream.vision.engines.trt.package import TrtPackage, first_reason
from emostream.vision.engines.trt.profile import Shape

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]

# The classifier uses one lane per batch size, a detector one per frame size of its streams.
_MAX_LANES = 16


class TrtEngine:
    """A deserialised engine. Thread-safe; batches run one at a time, as they do on the GPU.

    Args:
        package: the package that built it.
        content: the serialised engine.
        runtime_cache: what TensorRT-RTX compiled for this GPU in an earlier process.

    Raises:
        EngineUnavailableError: there is no GPU, or the package does not support it.
        ManifestError: the engine cannot be loaded, for example because another version or another GPU built it.
    """

    def __init__(self, package: TrtPackage, content: bytes, *, runtime_cache: bytes | None = None) -> None:
        gpu = find_gpu()
        if not package.runs_on(gpu.compute_capability):
            raise EngineUnavailableError(f"{package.name} does not run on {gpu}; use tensorrt", engine=package.name)
        self._package = package
        self.package_name: str = package.name
        self.gpu_name = gpu.name
        with package.log.errors() as errors:
            self._runtime = package.module.Runtime(package.log.handle)
            self._engine = self._runtime.deserialize_cuda_engine(content)
            if self._engine is None:
                raise ManifestError(
                    f"the engine does not load with {package.name} {package.version}: {first_reason(errors)}"
                )
        self._config, self._runtime_cache = self._runtime_config(runtime_cache)
        self._lock = threading.Lock()
        self._lanes: OrderedDict[Shape, _Lane] = OrderedDict()

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return _names(self._package.module, self._engine, "OUTPUT")

    def run(self, batch: Array) -> dict[str, Array]:
        """Run the engine on one input.

        Args:
            batch: of a shape and dtype that one of the engine's profiles takes.

        Returns:
            Output name → new array.

        Raises:
            InferenceError: no profile takes the shape, the engine is closed, or the GPU failed.
        """
        with self._lock:
            if self._engine is None:
                raise InferenceError("the engine is closed")
            return self._lane(batch.shape).run(batch)

    def runtime_cache(self) -> bytes | None:
        """What TensorRT-RTX compiled for this GPU so far, to pass to later processes; None for TensorRT."""
        return None if self._runtime_cache is None else bytes(self._runtime_cache.serialize())

    def close(self) -> None:
        """Release all device memory. Safe to call twice."""
        with self._lock:
            while self._lanes:
                self._lanes.popitem()[1].close()
            self._engine = self._config = self._runtime_cache = self._runtime = None

    def __enter__(self) -> Self:
        """Return the engine; it is loaded by the constructor."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _runtime_config(self, cached: bytes | None) -> tuple[Any, Any]:
        if not self._package.is_rtx:
            return None, None
        config = self._engine.create_runtime_config()
        # Without it a graph could capture generic kernels that are used only until the specialised ones are compiled.
        config.dynamic_shapes_kernel_specialization_strategy = (
            self._package.module.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        cache = config.create_runtime_cache()
        if cached is not None:
            cache.deserialize(cached)
        config.set_runtime_cache(cache)
        return config, cache

    def _lane(self, shape: Shape) -> _Lane:
        if shape in self._lanes:
            self._lanes.move_to_end(shape)
            return self._lanes[shape]
        if len(self._lanes) == _MAX_LANES:
            self._lanes.popitem(last=False)[1].close()
        with self._package.log.errors() as errors:
            try:
                lane = _Lane(self._package.module, self._engine, self._config, shape)
            except InferenceError as exc:
                raise InferenceError(f"{exc} ({first_reason(errors)})") from exc
        self._lanes[shape] = lane
        return lane


class _Lane:
    """The resources to run one input shape: execution context, pinned host memory, device memory, captured graph."""

    def __init__(self, trt: Any, engine: Any, config: Any, shape: Shape) -> None:
        self._cuda = CudaStream()
        try:
            arguments = () if config is None else (config,)
            self._context = engine.create_execution_context(*arguments)
            if self._context is None:
                raise InferenceError("no execution context could be made")
            (input_name,) = _names(trt, engine, "INPUT")
            profile = _profile_for(engine, input_name, shape)
            is_chosen = self._context.set_optimization_profile_async(profile, self._cuda.handle)
            self._require(is_chosen, f"choose its profile {profile}")
            self._cuda.wait()
            self._require(self._context.set_input_shape(input_name, shape), f"take an input of shape {shape}")
            self._input, self._input_address = self._tensor(trt, engine, input_name)
            self._outputs = {name: self._tensor(trt, engine, name) for name in _names(trt, engine, "OUTPUT")}
            self._launch = self._prepared_launch()
        except BaseException:
            self.close()
            raise

    def run(self, batch: Array) -> dict[str, Array]:
        np.copyto(self._input, batch)
        self._launch()
        self._cuda.wait()
        return {name: array.copy() for name, (array, _) in self._outputs.items()}

    def close(self) -> None:
        self._context = None
        self._cuda.close()

    def _tensor(self, trt: Any, engine: Any, name: str) -> tuple[Array, int]:
        shape = tuple(self._context.get_tensor_shape(name))
        array = self._cuda.pinned_array(shape, trt.nptype(engine.get_tensor_dtype(name)))
        address = self._cuda.device_buffer(array.nbytes)
        self._require(self._context.set_tensor_address(name, address), f"use memory for {name}")
        return array, address

    def _prepared_launch(self) -> Callable[[], None]:
        """The work of a batch as one CUDA graph; as single calls where it cannot be captured."""
        self._queue()  # the first run allocates and compiles, which a capture must not do
        self._cuda.wait()
        try:
            return self._cuda.record(self._queue)
        except InferenceError as exc:
            logger.info("no CUDA graph for shape %s: %s", self._input.shape, exc)
            return self._queue

    def _queue(self) -> None:
        self._cuda.copy_to_device(self._input_address, self._input)
        self._require(self._context.execute_async_v3(self._cuda.handle), "be started")
        for array, address in self._outputs.values():
            self._cuda.copy_to_host(array, address)

    @staticmethod
    def _require(is_done: bool, what: str) -> None:
        if not is_done:
            raise InferenceError(f"the engine could not {what}")


def _names(trt: Any, engine: Any, mode: str) -> list[str]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return [name for name in names if engine.get_tensor_mode(name) == getattr(trt.TensorIOMode, mode)]


def _profile_for(engine: Any, input_name: str, shape: Shape) -> int:
    known = []
    for index in range(engine.num_optimization_profiles):
        smallest, _, largest = (tuple(ends) for ends in engine.get_tensor_profile_shape(input_name, index))
        sides = zip(smallest, shape, largest, strict=True)
        if len(smallest) == len(shape) and all(low <= side <= high for low, side, high in sides):
            return index
        known.append(f"{smallest}…{largest}")
    raise InferenceError(f"the engine accepts inputs of shape {', '.join(known)}, got {shape}")
