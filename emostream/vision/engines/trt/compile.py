"""Provides the engine of a model: from the cache or newly built, and verified before its first use."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from emostream.errors import EngineUnavailableError, ManifestError
from emostream.vision.engines.trt.build import build_engine
from emostream.vision.engines.trt.cuda import Gpu, find_gpu
from emostream.vision.engines.trt.engine import TrtEngine
from emostream.vision.engines.trt.engine_cache import CachedEngine, EngineCache, engine_key, short_digest
from emostream.vision.engines.trt.package import TrtName, TrtPackage, load_package
from emostream.vision.engines.trt.profile import ShapeProfile

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]
"""Called with a short message about the current step."""

Proof = Mapping[str, float]
"""Measured differences from the reference: name → value."""

Prove = Callable[[TrtEngine], Proof]
"""Compares an engine with its reference. Raises `ManifestError` when the difference is too large."""


@dataclass(frozen=True, slots=True)
class EngineRecipe:
    """The inputs of a compilation.

    Attributes:
        name: of the model, for file names and messages.
        onnx_model: serialised, in the precision of the engine.
        precision: fp32, fp16 or int8.
        profiles: shapes of its input.
    """

    name: str
    onnx_model: bytes
    precision: str
    profiles: tuple[ShapeProfile, ...]

    def __repr__(self) -> str:
        return f"EngineRecipe({self.name}, {self.precision}, {', '.join(map(str, self.profiles))})"


@dataclass(frozen=True, slots=True)
class CompileReport:
    """The result of a compilation and of its verification.

    Attributes:
        model: its name.
        precision: of the engine.
        profiles: shapes that it was compiled for, as text.
        package: name and version of the package that built it.
        target: the GPU or family of GPUs that it runs on.
        path: of the engine.
        size_bytes: of its file.
        source_proof: differences between the compiled model and its reference, both in ONNX Runtime; None when they
            are the same model.
        engine_proof: differences between the engine and the reference; None where no GPU here could run it. It is then
            verified before its first use.
    """

    model: str
    precision: str
    profiles: tuple[str, ...]
    package: str
    target: str
    path: Path
    size_bytes: int
    source_proof: Proof | None
    engine_proof: Proof | None


def compile_engine(
    name: TrtName,
    recipe: EngineRecipe,
    *,
    cache_dir: Path,
    prove: Prove,
    source_proof: Proof | None = None,
    progress: Progress = logger.info,
) -> CompileReport:
    """Compile a model and verify the engine where a GPU can run it.

    Raises:
        EngineUnavailableError: the package is not installed, or needs a GPU that is missing.
        ManifestError: the package cannot compile the model, or the engine's results differ from the reference.
        ConfigError: the cache cannot be written.
    """
    package, cache, gpu = load_package(name), EngineCache(cache_dir), _gpu_here()
    proof = None
    if gpu is None or not package.runs_on(gpu.compute_capability):
        stored = _compiled(recipe, package, cache, gpu=gpu, progress=progress)
    else:
        stored, engine = _open_proved(recipe, package, cache, gpu=gpu, prove=prove, progress=progress)
        engine.close()
        proof = stored.proof_on(gpu)
    key = stored.details["key"]
    return CompileReport(
        model=recipe.name,
        precision=recipe.precision,
        profiles=tuple(key["profiles"]),
        package=key["package"],
        target=key["target"],
        path=stored.path,
        size_bytes=len(stored.content),
        source_proof=source_proof,
        engine_proof=proof,
    )


def open_engine(name: TrtName, recipe: EngineRecipe, *, cache_dir: Path, prove: Prove) -> TrtEngine:
    """Open the engine of a model on this machine's GPU; build it first where it is not in the cache.

    Raises:
        EngineUnavailableError: package or GPU is missing, or the package does not support the GPU.
        ManifestError: the package cannot compile the model, or the engine's results differ from the reference.
    """
    package, gpu = load_package(name), find_gpu()
    if not package.runs_on(gpu.compute_capability):
        raise EngineUnavailableError(f"{name} does not run on {gpu}; use tensorrt", engine=name)
    cache = EngineCache(cache_dir, must_keep=False)
    return _open_proved(recipe, package, cache, gpu=gpu, prove=prove, progress=logger.info)[1]


def _gpu_here() -> Gpu | None:
    try:
        return find_gpu()
    except EngineUnavailableError:
        return None


def _compiled(
    recipe: EngineRecipe, package: TrtPackage, cache: EngineCache, *, gpu: Gpu | None, progress: Progress
) -> CachedEngine:
    """The engine from the cache; built when it is not there."""
    if gpu is None and not package.is_rtx:
        raise EngineUnavailableError(
            "tensorrt builds an engine for this machine's GPU, but there is none; compile on the machine that will run "
            "it, or use tensorrt_rtx, which builds without a GPU",
            engine=package.name,
        )
    key = engine_key(recipe.onnx_model, precision=recipe.precision, profiles=recipe.profiles, package=package, gpu=gpu)
    if (found := cache.load(recipe.name, key)) is not None:
        return found
    progress(f"building {recipe.name} in {recipe.precision} with {key.package}")
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


def _open_proved(
    recipe: EngineRecipe, package: TrtPackage, cache: EngineCache, *, gpu: Gpu, prove: Prove, progress: Progress
) -> tuple[CachedEngine, TrtEngine]:
    """Open the engine. On its first use on a GPU, verify it and store what TensorRT-RTX compiled for this GPU."""
    stored, engine = _open(recipe, package, cache, gpu=gpu, progress=progress)
    try:
        if stored.proof_on(gpu) is None:
            stored = cache.add_proof(stored, gpu, dict(prove(engine)))
            if (compiled_here := engine.runtime_cache()) is not None:
                cache.store_side_file(_runtime_file(stored, gpu), compiled_here)
    except BaseException:
        engine.close()
        raise
    return stored, engine


def _open(
    recipe: EngineRecipe, package: TrtPackage, cache: EngineCache, *, gpu: Gpu, progress: Progress
) -> tuple[CachedEngine, TrtEngine]:
    """Load the engine; when that fails, rebuild it once."""
    stored = _compiled(recipe, package, cache, gpu=gpu, progress=progress)
    try:
        runtime_cache = cache.load_side_file(_runtime_file(stored, gpu))
        return stored, TrtEngine(package, stored.content, runtime_cache=runtime_cache)
    except ManifestError as exc:
        logger.warning("%s; rebuilding it", exc)
        cache.forget(stored)
    stored = _compiled(recipe, package, cache, gpu=gpu, progress=progress)
    return stored, TrtEngine(package, stored.content)


def _runtime_file(stored: CachedEngine, gpu: Gpu) -> str:
    return f"{stored.path.stem}-{short_digest(str(gpu))}.runtime"
