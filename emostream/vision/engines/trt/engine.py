"""Runs an engine on the GPU."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from emostream.errors import EngineUnavailableError, InferenceError, ManifestError
from emostream.vision.engines.trt.cuda import CudaStream, Gpu, use_gpu
from emostream.vision.engines.trt.package import TrtPackage, first_reason
from emostream.vision.engines.trt.profile import Shape

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]

# The classifier uses one shape per batch size, a detector one per frame size of its streams.
_MAX_SHAPES = 16
NUM_LANES = 2
"""Batches of one shape that an engine takes at once: while the GPU computes one, the next is copied to it."""


class TrtEngine:
    """A deserialised engine on one GPU. Thread-safe; `NUM_LANES` batches of a shape run at once, further ones wait.

    Args:
        package: the package that built it.
        content: the serialised engine.
        gpu: runs it.
        runtime_cache: what TensorRT-RTX compiled for this GPU in an earlier process.

    Raises:
        EngineUnavailableError: the package does not support the GPU, or cannot run on this machine.
        ManifestError: the engine cannot be loaded, for example because another version or another GPU built it.
        InferenceError: CUDA failed.
    """

    def __init__(self, package: TrtPackage, content: bytes, *, gpu: Gpu, runtime_cache: bytes | None = None) -> None:
        if not package.runs_on(gpu.compute_capability):
            raise EngineUnavailableError(f"{package.name} does not run on {gpu}; use tensorrt", engine=package.name)
        self._package = package
        self._gpu = gpu
        self.package_name: str = package.name
        self.gpu_name = gpu.name
        use_gpu(gpu)
        with package.log.errors() as errors:
            self._runtime = package.make("Runtime", errors)
            self._engine = self._runtime.deserialize_cuda_engine(content)
            if self._engine is None:
                raise ManifestError(
                    f"the engine does not load with {package.name} {package.version}: {first_reason(errors)}"
                )
        self._config, self._runtime_cache = self._runtime_config(runtime_cache)
        self._changed = threading.Condition()
        self._lanes: OrderedDict[Shape, _Lanes] = OrderedDict()

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return _names(self._package.module, self._engine, "OUTPUT")

    @property
    def num_parallel_batches(self) -> int:
        """See `GpuEngine`."""
        return NUM_LANES

    def prepare(self, shapes: Sequence[Shape]) -> None:
        """Allocate what batches of these shapes need, so that too little memory shows now and not in the first batch.

        Raises:
            InferenceError: no profile takes a shape, or the GPU's memory is too small.
        """
        for shape in shapes:
            lanes = [self._take(shape) for _ in range(NUM_LANES)]
            for lane in lanes:
                self._give_back(shape, lane)

    def run(self, batch: Array) -> dict[str, Array]:
        """Run the engine on one input.

        Args:
            batch: of a shape and dtype that one of the engine's profiles takes.

        Returns:
            Output name → new array.

        Raises:
            InferenceError: no profile takes the shape, the engine is closed, or the GPU failed.
        """
        lane = self._take(batch.shape)
        try:
            return lane.run(batch)
        finally:
            self._give_back(batch.shape, lane)

    def runtime_cache(self) -> bytes | None:
        """What TensorRT-RTX compiled for this GPU so far, to pass to later processes; None for TensorRT."""
        return None if self._runtime_cache is None else bytes(self._runtime_cache.serialize())

    def close(self) -> None:
        """Wait for running batches, then release all device memory. Safe to call twice."""
        with self._changed:
            engine, self._engine = self._engine, None  # no batch begins any more
            self._changed.wait_for(lambda: not any(lanes.num_busy for lanes in self._lanes.values()))
            while self._lanes:
                self._lanes.popitem()[1].close()
            self._config = self._runtime_cache = None
            del engine
            self._runtime = None

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
        config.set_execution_context_allocation_strategy(_per_profile(self._package.module))
        cache = config.create_runtime_cache()
        if cached is not None:
            cache.deserialize(cached)
        config.set_runtime_cache(cache)
        return config, cache

    def _take(self, shape: Shape) -> _Lane:
        """A free lane for this shape; made where there are fewer than `NUM_LANES`, else waited for."""
        with self._changed:
            while True:
                if self._engine is None:
                    raise InferenceError("the engine is closed")
                lanes = self._lanes.get(shape)
                if lanes is not None and lanes.free:
                    self._lanes.move_to_end(shape)
                    return lanes.take()
                if lanes is None or lanes.num_busy < NUM_LANES:
                    use_gpu(self._gpu)
                    return self._added(shape)
                self._changed.wait()

    def _give_back(self, shape: Shape, lane: _Lane) -> None:
        with self._changed:
            self._lanes[shape].give_back(lane)
            self._changed.notify_all()

    def _added(self, shape: Shape) -> _Lane:
        """A new lane, in use. Of many shapes, the one that was not used for longest is given up."""
        if shape not in self._lanes and len(self._lanes) >= _MAX_SHAPES:
            idle = next((known for known, lanes in self._lanes.items() if not lanes.num_busy), None)
            if idle is not None:
                self._lanes.pop(idle).close()
        with self._package.log.errors() as errors:
            try:
                lane = _Lane(self._package.module, self._engine, self._config, shape, gpu=self._gpu)
            except InferenceError as exc:
                raise InferenceError(f"{exc} ({first_reason(errors)})") from exc
        self._lanes.setdefault(shape, _Lanes()).num_busy += 1
        return lane


class _Lanes:
    """The lanes of one shape: those that are free, and the number of those in use."""

    def __init__(self) -> None:
        self.free: list[_Lane] = []
        self.num_busy = 0

    def take(self) -> _Lane:
        self.num_busy += 1
        return self.free.pop()

    def give_back(self, lane: _Lane) -> None:
        self.num_busy -= 1
        self.free.append(lane)

    def close(self) -> None:
        while self.free:
            self.free.pop().close()


class _Lane:
    """The resources to run one input shape: execution context, pinned host memory, device memory, captured graph."""

    def __init__(self, trt: Any, engine: Any, config: Any, shape: Shape, *, gpu: Gpu) -> None:
        self._gpu = gpu
        self._cuda = CudaStream()
        try:
            self._context = engine.create_execution_context(_per_profile(trt) if config is None else config)
            if self._context is None:
                raise InferenceError("no execution context could be made")
            (input_name,) = _names(trt, engine, "INPUT")
            profile = _profile_for(engine, input_name, shape)
            is_chosen = self._context.set_optimization_profile_async(profile, self._cuda.handle)
            self._require(is_chosen, f"choose its profile {profile}")
            self._cuda.wait()
            self._require(self._context.set_input_shape(input_name, shape), f"take an input of shape {shape}")
            self._input, self._input_address = self._tensor(trt, engine, input_name)
            self._outputs: dict[str, tuple[Array, int]] = {}
            for name in _names(trt, engine, "OUTPUT"):  # no comprehension: an error would keep its closure, the engine
                self._outputs[name] = self._tensor(trt, engine, name)
            self._launch = self._prepared_launch()
        except BaseException:
            self.close()
            raise

    def run(self, batch: Array) -> dict[str, Array]:
        np.copyto(self._input, batch)
        use_gpu(self._gpu)
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


def _per_profile(trt: Any) -> Any:
    """How contexts take memory: for the profile in use, not for the largest one."""
    return trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE


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
