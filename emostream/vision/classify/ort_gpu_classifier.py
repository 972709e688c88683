"""The classifier on ONNX Runtime's providers for GPUs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emostream.config import ClassifySettings
from emostream.vision.classify.gpu_classifier import GpuClassifier, prove_classifier
from emostream.vision.classify.packaged_models import engine_source
from emostream.vision.engines.group import EngineGroup
from emostream.vision.engines.ort_gpu import OrtGpuEngine, OrtGpuName, check_ort_gpu, provider_options
from emostream.vision.engines.trt.cuda import find_gpus


def load_ort_gpu_classifier(name: OrtGpuName, settings: ClassifySettings, *, cache_dir: Path) -> GpuClassifier:
    """Open the classifier that the settings name on all GPUs of this process, and compare it with its reference.

    Every batch size runs once, so that too little memory shows now.

    Raises:
        EngineUnavailableError: the provider, its libraries or a GPU is missing.
        ModelError: the model cannot be used, or the results differ from the reference.
        ConfigError: the settings do not fit the model.
    """
    check_ort_gpu(name)
    source = engine_source(settings)
    size, allowed = source.manifest.input_size_pixels, source.manifest.max_batch_size
    batches = sorted({min(batch, allowed) for batch in settings.batches})
    engines: list[OrtGpuEngine] = []
    try:
        for gpu in find_gpus():
            providers = provider_options(name, gpu=gpu, cache_dir=cache_dir)
            engine = OrtGpuEngine(name, source.onnx_model, providers=providers, gpu_name=gpu.name)
            engines.append(engine)
            for batch in batches:
                engine.run(np.zeros((batch, size, size), np.uint8))
            alone = GpuClassifier(engine, manifest=source.manifest, batches=batches)
            prove_classifier(alone, source, what=f"{name} with {source.reference}")
    except BaseException:
        for engine in engines:
            engine.close()
        raise
    return GpuClassifier(EngineGroup(engines), manifest=source.manifest, batches=batches)
