"""ONNX Runtime's providers for GPUs: what is missing is said, and nothing computes on the CPU silently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from emostream.config import ClassifySettings
from emostream.errors import EngineUnavailableError, InferenceError, ManifestError
from emostream.testing.engine_contract import check_engine
from emostream.vision.classify.gpu_classifier import GpuClassifier
from emostream.vision.classify.load import load_classifier
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.engines.ort_gpu import ORT_GPU_NAMES, OrtGpuEngine, OrtGpuName, check_ort_gpu, provider_options
from emostream.vision.engines.trt.cuda import Gpu
from tests.cuda_double import gpu_machine
from tests.onnx_models import classifier_model, save_classifier
from tests.vision.engines.trt.models import tiny_model

MODEL = tiny_model().SerializeToString()
CPU: list[tuple[str, dict[str, str]]] = [("CPUExecutionProvider", {})]
HAS_PROVIDERS = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def test_an_engine_keeps_the_contract(tmp_path: Path) -> None:
    """On the CPU's provider; those of GPUs take the same calls."""
    with OrtClassifier(save_classifier(tmp_path)) as reference:
        content = classifier_model().SerializeToString()
        engine = OrtGpuEngine("onnxruntime_cuda", content, providers=CPU, gpu_name="none")
        assert engine.output_names == list(reference.manifest.outputs)
        check_engine(GpuClassifier(engine, manifest=reference.manifest, batches=(1, 8)), reference=reference)
    with pytest.raises(InferenceError):
        engine.run(np.zeros((1, 8, 8), np.uint8))


def test_an_input_that_does_not_fit_and_a_damaged_model_are_named() -> None:
    engine = OrtGpuEngine("onnxruntime_cuda", MODEL, providers=CPU, gpu_name="none")
    with pytest.raises(InferenceError, match=r"onnxruntime_cuda.*\(1, 9, 9\)"):
        engine.run(np.zeros((1, 9, 9), np.uint8))
    with pytest.raises(ManifestError):
        OrtGpuEngine("onnxruntime_cuda", b"not a model", providers=CPU, gpu_name="none")


@pytest.mark.parametrize("name", ORT_GPU_NAMES)
def test_without_its_libraries_a_provider_is_unavailable(name: OrtGpuName, tmp_path: Path) -> None:
    """Both without the provider (package onnxruntime) and without what it needs (package onnxruntime-gpu, no CUDA)."""
    providers = provider_options(name, gpu=Gpu("NVIDIA L4", (8, 9), "13.0", index=1), cache_dir=tmp_path)
    assert [options["device_id"] for _, options in providers] == ["1"] * len(providers)
    with gpu_machine(), pytest.raises(EngineUnavailableError) as caught:
        OrtGpuEngine(name, MODEL, providers=providers, gpu_name="NVIDIA L4")
    assert caught.value.engine == name


@pytest.mark.skipif(HAS_PROVIDERS, reason="this ONNX Runtime has them")
@pytest.mark.parametrize("name", ORT_GPU_NAMES)
def test_without_the_package_it_says_what_to_install(name: OrtGpuName, tmp_path: Path) -> None:
    with gpu_machine():
        with pytest.raises(EngineUnavailableError, match="onnxruntime-gpu"):
            check_ort_gpu(name)
        settings = ClassifySettings(model=save_classifier(tmp_path), max_batch_size=16, engine=name)
        with pytest.raises(EngineUnavailableError, match="onnxruntime-gpu"):
            load_classifier(settings, cache_dir=tmp_path)
    with gpu_machine() as machine:
        machine.devices = ()
        with pytest.raises(EngineUnavailableError, match="NVIDIA GPU"):
            check_ort_gpu(name)
