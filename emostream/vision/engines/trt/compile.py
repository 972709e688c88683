"""Provides the engine of a model: from the cache or newly built, and verified before its first use."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emostream.errors import EngineUnavailableError, ManifestError, ModelError
from emostream.vision.engines.group import EngineGroup
from emostream.vision.engines.trt.build import build_engine
from emostream.vision.engines.trt.cuda import Gpu, find_gpu, find_gpus, use_gpu
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


def open_engines(name: TrtName, recipe: EngineRecipe, *, cache_dir: Path, prove: Prove) -> EngineGroup:
    """Open the engine of a model on each GPU of this machine; build it first where it is not in the cache.

    Memory for a batch of each profile's best shape is allocated at once. A GPU that fails is left out, with a warning,
    while another one works.

    Raises:
        EngineUnavailableError: package or GPU is missing, or the package does not support the GPU.
        ManifestError: the package cannot compile the model, or the engine's results differ from the reference.
        InferenceError: the GPU failed, or its memory is too small.
    """
    gpus, package = find_gpus(), load_package(name)
    usable = [gpu for gpu in gpus if package.runs_on(gpu.compute_capability)]
    if not usable:
        raise EngineUnavailableError(f"{name} does not run on {gpus[0]}; use tensorrt", engine=name)
    cache = EngineCache(cache_dir, must_keep=False)
    engines: list[TrtEngine] = []
    failures: list[ModelError] = []
    for gpu in usable:
        try:
            engines.append(_open_prepared(recipe, package, cache, gpu=gpu, prove=prove))
        except ModelError as exc:
            _forget_locals(exc)
            failures.append(exc)
            if gpu is not usable[-1] or engines:
                logger.warning("GPU %d (%s) is not used for %s: %s", gpu.index, gpu.name, recipe.name, exc)
        except BaseException:
            _close(engines)
            raise
    if not engines:
        raise failures.pop(0)
    return EngineGroup(engines)


def _open_prepared(
    recipe: EngineRecipe, package: TrtPackage, cache: EngineCache, *, gpu: Gpu, prove: Prove
) -> TrtEngine:
    engine = _open_proved(recipe, package, cache, gpu=gpu, prove=prove, progress=logger.info)[1]
    try:
        engine.prepare([profile.best for profile in recipe.profiles])
    except BaseException:
        engine.close()
        raise
    return engine


def _forget_locals(exc: BaseException) -> None:
    """Let go of what the frames of an error hold: the engine and its memory, as long as anyone keeps the error."""
    current: BaseException | None = exc
    while current is not None:
        traceback.clear_frames(current.__traceback__)
        current = current.__cause__ or current.__context__


def _close(engines: Sequence[TrtEngine]) -> None:
    for engine in engines:
        engine.close()


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
    if gpu is not None and not package.is_rtx:
        use_gpu(gpu)  # TensorRT builds for the GPU of the calling thread
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
        return stored, TrtEngine(package, stored.content, gpu=gpu, runtime_cache=runtime_cache)
    except ManifestError as exc:
        logger.warning("%s; rebuilding it", exc)
        cache.forget(stored)
    stored = _compiled(recipe, package, cache, gpu=gpu, progress=progress)
    return stored, TrtEngine(package, stored.content, gpu=gpu)


def _runtime_file(stored: CachedEngine, gpu: Gpu) -> str:
    return f"{stored.path.stem}-{short_digest(str(gpu))}.runtime"
