"""ONNX Runtime on NVIDIA GPUs: the providers of the package `onnxruntime-gpu`.

It replaces the package `onnxruntime`: both fill the same module, so that only one of them may be installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import onnxruntime

from emostream.errors import EngineUnavailableError, InferenceError, ManifestError
from emostream.vision.engines.trt.cuda import Gpu, find_gpus

Array = npt.NDArray[Any]

OrtGpuName = Literal["onnxruntime_tensorrt", "onnxruntime_cuda"]
ORT_GPU_NAMES: tuple[OrtGpuName, ...] = ("onnxruntime_tensorrt", "onnxruntime_cuda")
"""TensorRT below ONNX Runtime, for the parts of a model that it takes; and CUDA with cuDNN."""

_PROVIDERS = {"onnxruntime_tensorrt": "TensorrtExecutionProvider", "onnxruntime_cuda": "CUDAExecutionProvider"}
_CPU = "CPUExecutionProvider"


def check_ort_gpu(name: OrtGpuName) -> str:
    """Check that a provider can run here, and describe what it would run on. Its libraries load with a model only.

    Raises:
        EngineUnavailableError: there is no GPU, or this ONNX Runtime has no such provider.
    """
    gpu = find_gpus()[0]
    if _PROVIDERS[name] not in onnxruntime.get_available_providers():
        raise EngineUnavailableError(
            f"this ONNX Runtime has no {_PROVIDERS[name]}; install `onnxruntime-gpu` in place of `onnxruntime`",
            engine=name,
        )
    return f"version {onnxruntime.__version__} on {gpu}"


def provider_options(name: OrtGpuName, *, gpu: Gpu, cache_dir: Path) -> list[tuple[str, Mapping[str, str]]]:
    """Providers of a session on one GPU, preferred first, with their options."""
    device = {"device_id": str(gpu.index)}
    cuda = (_PROVIDERS["onnxruntime_cuda"], device)
    if name == "onnxruntime_cuda":
        return [cuda]
    cache = {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(cache_dir / "engines" / name)}
    return [(_PROVIDERS[name], device | cache), cuda]


class OrtGpuEngine:
    """A model on one GPU; see `GpuEngine`.

    Args:
        name: of the engine.
        model: the serialised ONNX model, with one input.
        providers: as ONNX Runtime takes them, preferred first.
        gpu_name: of the GPU that they name.

    Raises:
        EngineUnavailableError: the preferred provider does not load; ONNX Runtime would go on with the CPU silently.
        ManifestError: the model cannot be read.
    """

    def __init__(
        self, name: str, model: bytes, *, providers: Sequence[tuple[str, Mapping[str, str]]], gpu_name: str
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what does not load is raised below
        wanted = providers[0][0]
        try:
            session = onnxruntime.InferenceSession(model, options, providers=list(providers), enable_fallback=0)
        except Exception as exc:  # ONNX Runtime's exception classes are many and not public
            reason = str(exc).strip().partition("\n")[0]
            if wanted == _CPU or "InvalidProtobuf" in type(exc).__name__:
                raise ManifestError(f"{name} cannot read the model: {reason}") from exc
            raise EngineUnavailableError(f"{wanted} does not load: {reason}", engine=name) from exc
        if (used := session.get_providers())[0] != wanted:
            raise EngineUnavailableError(
                f"{wanted} does not load, so that ONNX Runtime would compute with {', '.join(used)}; install the CUDA "
                "and cuDNN (for TensorRT, also its) libraries that this version of onnxruntime-gpu needs",
                engine=name,
            )
        self.package_name = name
        self.gpu_name = gpu_name
        self._session: onnxruntime.InferenceSession | None = session
        self._input: str = session.get_inputs()[0].name
        self._outputs: list[str] = [value.name for value in session.get_outputs()]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return list(self._outputs)

    @property
    def num_parallel_batches(self) -> int:
        """2: while the GPU computes one, the next is prepared."""
        return 2

    def run(self, batch: Array) -> dict[str, Array]:
        """See `GpuEngine.run`."""
        session = self._session
        if session is None:
            raise InferenceError("the engine is closed")
        try:
            results = session.run(self._outputs, {self._input: batch})
        except Exception as exc:  # as above
            reason = str(exc).strip().partition("\n")[0]
            raise InferenceError(f"{self.package_name} failed on {batch.shape}: {reason}") from exc
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        """Release the session. Safe to call twice."""
        self._session = None
