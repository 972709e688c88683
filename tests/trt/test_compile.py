"""From the cache where it lies there, built otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emostream.errors import EngineUnavailableError
from emostream.half_precision import half_from_full
from emostream.trt.compile import EngineRecipe, compiled_engine
from emostream.trt.cuda import Gpu
from emostream.trt.engine_cache import EngineCache
from emostream.trt.package import TrtPackage
from emostream.trt.profile import fixed
from tests.trt.models import SIDE, tiny_model


@pytest.fixture(scope="module")
def recipe() -> EngineRecipe:
    model = half_from_full(tiny_model()).SerializeToString(deterministic=True)
    return EngineRecipe("tiny", model, "fp16", (fixed((4, SIDE, SIDE)),))


def test_an_engine_is_built_once(rtx: TrtPackage, recipe: EngineRecipe, tmp_path: Path) -> None:
    said: list[str] = []
    cache = EngineCache(tmp_path)
    first = compiled_engine(recipe, rtx, cache, gpu=None, progress=said.append)
    assert [text.split()[0] for text in said] == ["building", "built"]
    assert compiled_engine(recipe, rtx, cache, gpu=None, progress=said.append) == first
    # The machine that runs it has a GPU; the engine is the same.
    assert compiled_engine(recipe, rtx, cache, gpu=Gpu("NVIDIA L4", (8, 9), "13.0"), progress=said.append) == first
    assert len(said) == 2


@pytest.mark.parametrize("damage", [b"", b"rubbish"])
def test_a_damaged_engine_is_built_again(rtx: TrtPackage, recipe: EngineRecipe, tmp_path: Path, damage: bytes) -> None:
    cache = EngineCache(tmp_path)
    first = compiled_engine(recipe, rtx, cache, gpu=None)
    first.path.write_bytes(damage)
    assert len(compiled_engine(recipe, rtx, cache, gpu=None).content) == len(first.content)


def test_other_batches_are_another_engine(rtx: TrtPackage, recipe: EngineRecipe, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    first = compiled_engine(recipe, rtx, cache, gpu=None)
    other = compiled_engine(replace(recipe, profiles=(fixed((2, SIDE, SIDE)),)), rtx, cache, gpu=None)
    assert other.path != first.path
    assert first.path.exists()


def test_tensorrt_without_a_gpu_says_what_to_do(recipe: EngineRecipe, tmp_path: Path) -> None:
    package = TrtPackage("tensorrt", None, "11.4", log=None)  # type: ignore[arg-type]
    with pytest.raises(EngineUnavailableError, match=r"there is none; compile where it will run, or use tensorrt_rtx"):
        compiled_engine(recipe, package, EngineCache(tmp_path), gpu=None)
