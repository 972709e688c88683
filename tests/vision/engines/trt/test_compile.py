"""From the cache where it lies there, built otherwise; what a machine without a GPU can and cannot do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emostream.errors import EngineUnavailableError
from emostream.vision.engines.half_precision import half_from_full
from emostream.vision.engines.trt import compile as module
from emostream.vision.engines.trt.compile import CompileReport, EngineRecipe, Proof, compile_engine
from emostream.vision.engines.trt.cuda import Gpu
from emostream.vision.engines.trt.engine import TrtEngine
from emostream.vision.engines.trt.package import TrtLog, TrtPackage
from emostream.vision.engines.trt.profile import fixed
from tests.vision.engines.trt.models import SIDE, tiny_model


@pytest.fixture(scope="module")
def recipe() -> EngineRecipe:
    model = half_from_full(tiny_model()).SerializeToString(deterministic=True)
    return EngineRecipe("tiny", model, "fp16", (fixed((4, SIDE, SIDE)),))


@pytest.fixture(autouse=True)
def _without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a machine that has one: what runs on it is tested in tests/gpu."""
    monkeypatch.setattr(module, "find_gpu", _no_gpu)


def _no_gpu() -> Gpu:
    raise EngineUnavailableError("no NVIDIA GPU can be used here")


def not_proved(engine: TrtEngine) -> Proof:
    raise AssertionError("there is no GPU to run it")


def compiled(recipe: EngineRecipe, folder: Path, said: list[str] | None = None) -> CompileReport:
    say = (lambda text: None) if said is None else said.append
    return compile_engine("tensorrt_rtx", recipe, cache_dir=folder, prove=not_proved, progress=say)


def test_an_engine_is_built_once(rtx: TrtPackage, recipe: EngineRecipe, tmp_path: Path) -> None:
    said: list[str] = []
    first = compiled(recipe, tmp_path, said)
    assert [text.split()[0] for text in said] == ["building", "built"]
    assert (first.package, first.target) == (f"tensorrt_rtx {rtx.version}", "compute capability ≥ 8.0")
    assert first.size_bytes == first.path.stat().st_size
    assert compiled(recipe, tmp_path, said) == first
    assert len(said) == 2


def test_on_a_gpu_of_another_kind_it_is_built_and_not_run(
    rtx: TrtPackage, recipe: EngineRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT-RTX does not run on data-centre GPUs, but builds there for those it does run on."""
    first = compiled(recipe, tmp_path)
    monkeypatch.setattr(module, "find_gpu", lambda: Gpu("NVIDIA H100", (9, 0), "13.0"))
    assert compiled(recipe, tmp_path) == first


@pytest.mark.parametrize("damage", [b"", b"rubbish"])
def test_a_damaged_engine_is_built_again(rtx: TrtPackage, recipe: EngineRecipe, tmp_path: Path, damage: bytes) -> None:
    first = compiled(recipe, tmp_path)
    first.path.write_bytes(damage)
    again = compiled(recipe, tmp_path)
    assert again.path.stat().st_size == again.size_bytes > len(damage)


def test_other_batches_are_another_engine(rtx: TrtPackage, recipe: EngineRecipe, tmp_path: Path) -> None:
    first = compiled(recipe, tmp_path)
    other = compiled(replace(recipe, profiles=(fixed((2, SIDE, SIDE)),)), tmp_path)
    assert other.path != first.path
    assert first.path.exists()


def test_tensorrt_without_a_gpu_says_what_to_do(
    rtx: TrtPackage, recipe: EngineRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = TrtPackage("tensorrt", rtx.module, "11.4", TrtLog(rtx.module))
    monkeypatch.setattr(module, "load_package", lambda name: package)
    with pytest.raises(EngineUnavailableError, match="tensorrt_rtx"):
        compile_engine("tensorrt", recipe, cache_dir=tmp_path, prove=not_proved)
