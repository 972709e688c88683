"""The classifier on TensorRT and TensorRT-RTX."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emostream.config import ClassifySettings
from emostream.domain.model_manifest import save_manifest, sha256_of
from emostream.vision.classify.gpu_classifier import GpuClassifier, prove_classifier
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.classify.packaged_models import EngineSource, engine_source
from emostream.vision.classify.parity import Parity
from emostream.vision.engines.trt.compile import (
    CompileReport,
    EngineRecipe,
    Progress,
    Proof,
    compile_engine,
    open_engines,
)
from emostream.vision.engines.trt.engine import TrtEngine
from emostream.vision.engines.trt.package import TrtName
from emostream.vision.engines.trt.profile import fixed

logger = logging.getLogger(__name__)

Probabilities = npt.NDArray[np.float32]


def compile_classifier(
    name: TrtName, settings: ClassifySettings, *, cache_dir: Path, progress: Progress = logger.info
) -> CompileReport:
    """Compile the classifier that the settings name and verify the engine, as far as this machine can.

    Raises:
        EngineUnavailableError: the package is not installed, or needs a GPU that is missing.
        ModelError: the model cannot be used, or the engine's results differ from the reference.
        ConfigError: the settings do not fit the model.
    """
    source = engine_source(settings)
    recipe = _recipe(source, settings)
    return compile_engine(
        name,
        recipe,
        cache_dir=cache_dir,
        prove=partial(_prove_engine, source, recipe),
        source_proof=asdict(_prove_source(source)) if source.is_derived else None,
        progress=progress,
    )


def load_trt_classifier(name: TrtName, settings: ClassifySettings, *, cache_dir: Path) -> GpuClassifier:
    """Open the classifier that the settings name on all GPUs of this process; compile it first where it is missing.

    Raises:
        EngineUnavailableError: the package or a GPU is missing.
        ModelError: the model cannot be used, or the engine's results differ from the reference.
        ConfigError: the settings do not fit the model.
    """
    source = engine_source(settings)
    recipe = _recipe(source, settings)
    engines = open_engines(name, recipe, cache_dir=cache_dir, prove=partial(_prove_engine, source, recipe))
    return GpuClassifier(engines, manifest=source.manifest, batches=_batches(recipe))


def _recipe(source: EngineSource, settings: ClassifySettings) -> EngineRecipe:
    """One profile per batch size, each for exactly that size.

    A single profile from 1 to the largest size would be tuned for one size in the middle, and every batch size would
    need a graph of its own anyway. Profiles share the weights, so further ones cost little memory.
    """
    size, allowed = source.manifest.input_size_pixels, source.manifest.max_batch_size
    batches = sorted({min(batch, allowed) for batch in settings.batches})
    profiles = tuple(fixed((batch, size, size)) for batch in batches)
    return EngineRecipe(source.manifest.name, source.onnx_model, source.manifest.precision, profiles)


def _batches(recipe: EngineRecipe) -> tuple[int, ...]:
    return tuple(profile.best[0] for profile in recipe.profiles)


def _prove_engine(source: EngineSource, recipe: EngineRecipe, engine: TrtEngine) -> Proof:
    """Compare an engine with ONNX Runtime."""
    classifier = GpuClassifier(engine, manifest=source.manifest, batches=_batches(recipe))
    return asdict(
        prove_classifier(classifier, source, what=f"the {source.manifest.precision} engine of {source.reference}")
    )


def _prove_source(source: EngineSource) -> Parity:
    """Compare the converted model with the model that it was converted from, both in ONNX Runtime."""
    with tempfile.TemporaryDirectory(prefix="emostream-") as folder:
        path = Path(folder) / source.reference.name
        path.write_bytes(source.onnx_model)
        save_manifest(source.manifest.model_copy(update={"sha256": sha256_of(path)}), model_path=path)
        with OrtClassifier(path) as converted:
            return prove_classifier(
                converted, source, what=f"the {source.manifest.precision} variant of {source.reference}"
            )
