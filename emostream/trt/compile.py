"""A model → its engine: from the cache where it lies there, built otherwise, and built again when it does not load."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from emostream.errors import EngineUnavailableError, ManifestError
from emostream.trt.build import build_engine
from emostream.trt.cuda import Gpu, find_gpu
from emostream.trt.engine import TrtEngine
from emostream.trt.engine_cache import CachedEngine, EngineCache, engine_key, short_digest
from emostream.trt.package import TrtPackage
from emostream.trt.profile import ShapeProfile

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]
"""Told in a few words what is being done."""


@dataclass(frozen=True, slots=True)
class EngineRecipe:
    """What an engine is made from.

    Attributes:
        name: of the model, for file names and messages.
        onnx_model: in the precision of the engine.
        precision: fp32, fp16 or int8.
        profiles: shapes of its input.
    """

    name: str
    onnx_model: bytes
    precision: str
    profiles: tuple[ShapeProfile, ...]

    def __repr__(self) -> str:
        return f"EngineRecipe({self.name}, {self.precision}, {', '.join(map(str, self.profiles))})"


def gpu_here() -> Gpu | None:
    """The GPU of this process, or None."""
    try:
        return find_gpu()
    except EngineUnavailableError:
        return None


def compiled_engine(
    recipe: EngineRecipe, package: TrtPackage, cache: EngineCache, *, gpu: Gpu | None, progress: Progress = logger.info
) -> CachedEngine:
    """The engine of a model, built unless it is in the cache.

    Raises:
        EngineUnavailableError: TensorRT, which builds for the GPU that it finds, found none.
        ManifestError: the package does not take the model.
        ConfigError: the cache cannot be written.
    """
    if gpu is None and not package.is_rtx:
        raise EngineUnavailableError(
            "tensorrt builds an engine for the GPU of this machine, and there is none; compile where it will run, or "
            "use tensorrt_rtx, which builds without one",
            engine=package.name,
        )
    key = engine_key(recipe.onnx_model, precision=recipe.precision, profiles=recipe.profiles, package=package, gpu=gpu)
    if (found := cache.load(recipe.name, key)) is not None:
        return found
    progress(f"building {recipe.name} in {recipe.precision} with {package.name} {package.version}")
    started = time.monotonic()
    timing_file = f"timing-{package.name}-{package.version}-{short_digest(key.target)}.cache"
    built = build_engine(
        package,
        recipe.onnx_model,
        profiles=recipe.profiles,
        compute_capability=None if gpu is None else gpu.compute_capability,
        timing_cache=cache.load_side_file(timing_file),
    )
    if built.timing_cache is not None:
        cache.store_side_file(timing_file, built.timing_cache)
    stored = cache.store(recipe.name, key, built)
    progress(f"built {stored.path} ({len(built.content) / 1e6:.1f} MB) in {time.monotonic() - started:.1f} s")
    return stored


def open_engine(
    recipe: EngineRecipe, package: TrtPackage, cache: EngineCache, *, gpu: Gpu, progress: Progress = logger.info
) -> tuple[CachedEngine, TrtEngine]:
    """The engine of a model, on the GPU. One that does not load is built again, once.

    Raises:
        EngineUnavailableError: the package does not run on this GPU.
        ManifestError: the package does not take the model.
        ConfigError: the cache cannot be written.
    """
    runtime_cache = cache.load_side_file(runtime_cache_file(recipe, package, gpu))
    stored = compiled_engine(recipe, package, cache, gpu=gpu, progress=progress)
    try:
        return stored, TrtEngine(package, stored.content, runtime_cache=runtime_cache)
    except ManifestError as exc:
        logger.warning("%s; it is built again", exc)
        cache.forget(stored)
    stored = compiled_engine(recipe, package, cache, gpu=gpu, progress=progress)
    return stored, TrtEngine(package, stored.content)


def keep_runtime_cache(
    recipe: EngineRecipe, package: TrtPackage, cache: EngineCache, *, gpu: Gpu, engine: TrtEngine
) -> None:
    """Keep what TensorRT-RTX compiled for this GPU, so that the next process starts at once."""
    if (content := engine.runtime_cache()) is not None:
        cache.store_side_file(runtime_cache_file(recipe, package, gpu), content)


def runtime_cache_file(recipe: EngineRecipe, package: TrtPackage, gpu: Gpu) -> str:
    """Name of the file with what was compiled for this GPU."""
    key = engine_key(recipe.onnx_model, precision=recipe.precision, profiles=recipe.profiles, package=package, gpu=gpu)
    return f"{recipe.name}-{recipe.precision}-{key.digest()}-{short_digest(str(gpu))}.runtime"
