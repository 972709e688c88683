"""Engines come back under their key only, whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import fields, replace
from pathlib import Path

import pytest

from emostream.errors import ConfigError
from emostream.vision.engines.trt.build import BuiltEngine, EngineSignature, TensorSignature
from emostream.vision.engines.trt.cuda import Gpu
from emostream.vision.engines.trt.engine_cache import EngineCache, EngineKey, engine_key
from emostream.vision.engines.trt.package import TrtPackage
from emostream.vision.engines.trt.profile import fixed

KEY = EngineKey("ab" * 32, "fp16", ("1×64×64", "8×64×64"), "tensorrt 11.4", "NVIDIA L4 (8.9), CUDA 13.0")
SIGNATURE = EngineSignature(
    (TensorSignature("crops", "uint8", (-1, 64, 64)),),
    (TensorSignature("probabilities", "float32", (-1, 7)),),
    (fixed((1, 64, 64)),),
)
BUILT = BuiltEngine(b"an engine" * 100, SIGNATURE, timing_cache=None)
L4, RTX_2080 = Gpu("NVIDIA L4", (8, 9), "13.0"), Gpu("NVIDIA GeForce RTX 2080 Ti", (7, 5), "13.0")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "models")


def test_an_engine_comes_back(cache: EngineCache) -> None:
    assert cache.load("emotions", KEY) is None
    stored = cache.store("emotions", KEY, BUILT)
    found = cache.load("emotions", KEY)
    assert found == stored
    assert found.content == BUILT.content
    assert found.path.name == f"emotions-fp16-tensorrt-{KEY.digest()}.engine"
    assert found.details["signature"]["inputs"] == [{"name": "crops", "dtype": "uint8", "shape": [-1, 64, 64]}]


@pytest.mark.parametrize("name", [field.name for field in fields(EngineKey)])
def test_a_key_that_differs_in_anything_is_another_engine(cache: EngineCache, name: str) -> None:
    cache.store("emotions", KEY, BUILT)
    change = ("1×64×64",) if name == "profiles" else "another"
    other = replace(KEY, **{name: change})  # type: ignore[arg-type]
    assert other.digest() != KEY.digest()
    assert cache.load("emotions", other) is None
    assert cache.load("emotions", KEY) is not None


def test_keys_tell_models_packages_and_gpus_apart() -> None:
    def key(module: str, *, model: bytes = b"model", version: str = "1", gpu: Gpu | None = None) -> EngineKey:
        package = TrtPackage(module, None, version, log=None)  # type: ignore[arg-type]
        return engine_key(model, precision="fp16", profiles=(fixed((1, 64, 64)),), package=package, gpu=gpu)

    assert key("tensorrt", gpu=L4).target == "NVIDIA L4 (8.9), CUDA 13.0"
    assert key("tensorrt", gpu=L4) != key("tensorrt", gpu=replace(L4, driver_cuda="12.9"))
    assert key("tensorrt", gpu=L4) != key("tensorrt", gpu=L4, version="2")
    assert key("tensorrt", gpu=L4) != key("tensorrt", gpu=L4, model=b"another")
    assert key("tensorrt").target == "no GPU"
    # What TensorRT-RTX builds without a GPU, in an image for example, is what an RTX GPU of the machine wants.
    assert key("tensorrt_rtx") == key("tensorrt_rtx", gpu=L4)
    assert key("tensorrt_rtx") != key("tensorrt_rtx", gpu=RTX_2080)


def test_proofs_are_kept_for_each_gpu(cache: EngineCache) -> None:
    stored = cache.store("emotions", KEY, BUILT)
    assert stored.proof_on(L4) is None
    cache.add_proof(stored, L4, {"argmax_agreement": 1.0})
    found = cache.load("emotions", KEY)
    assert found is not None
    assert found.proof_on(L4) == {"argmax_agreement": 1.0}
    assert found.proof_on(RTX_2080) is None


@pytest.mark.parametrize("content", [b"", b"an engin", b"other" * 200])
def test_a_damaged_engine_counts_as_absent(
    cache: EngineCache, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    cache.store("emotions", KEY, BUILT).path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert cache.load("emotions", KEY) is None
    assert [record.args for record in caplog.records] == [(cache.path_of("emotions", KEY),)]
    assert cache.store("emotions", KEY, BUILT) == cache.load("emotions", KEY)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", None], ids=["empty", "cut", "list", "nothing", "gone"])
def test_damaged_details_count_as_absent(cache: EngineCache, text: str | None) -> None:
    details = cache.store("emotions", KEY, BUILT).path.with_suffix(".json")
    details.unlink() if text is None else details.write_text(text)
    assert cache.load("emotions", KEY) is None


@pytest.mark.parametrize(("name", "value"), [("key", {}), ("proofs", None), ("proofs", [])])
def test_details_of_something_else_count_as_absent(cache: EngineCache, name: str, value: object) -> None:
    path = cache.store("emotions", KEY, BUILT).path.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    assert cache.load("emotions", KEY) is None


def test_an_engine_can_be_forgotten(cache: EngineCache, tmp_path: Path) -> None:
    cache.forget(cache.store("emotions", KEY, BUILT))
    assert cache.load("emotions", KEY) is None
    assert list((tmp_path / "models" / "engines").iterdir()) == []


def test_many_writers_leave_one_whole_engine(cache: EngineCache, tmp_path: Path) -> None:
    threads = [threading.Thread(target=cache.store, args=("emotions", KEY, BUILT)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = cache.load("emotions", KEY)
    assert found is not None
    assert found.content == BUILT.content
    assert len(list((tmp_path / "models" / "engines").iterdir())) == 2


def test_a_full_disk_leaves_the_old_engine(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store("emotions", KEY, BUILT)

    def fails(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(ConfigError, match=r"No space left on device.*EMOSTREAM_MODELS__CACHE_DIR"):
        cache.store("emotions", KEY, replace(BUILT, content=b"new"))
    found = cache.load("emotions", KEY)
    assert found is not None
    assert found.content == BUILT.content


def test_a_service_goes_on_where_engines_cannot_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cache = EngineCache(tmp_path / "file", must_keep=False)
    with caplog.at_level(logging.WARNING):
        stored = cache.store("emotions", KEY, BUILT)
        proved = cache.add_proof(stored, L4, {"argmax_agreement": 1.0})
    assert stored.content == BUILT.content
    assert proved.proof_on(L4) == {"argmax_agreement": 1.0}
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert cache.load("emotions", KEY) is None


def test_a_side_file_that_cannot_be_kept_does_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cache = EngineCache(tmp_path / "file")
    with caplog.at_level(logging.INFO, logger="emostream"):
        cache.store_side_file("timing.cache", b"measured")
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert cache.load_side_file("timing.cache") is None
    kept = EngineCache(tmp_path / "models")
    kept.store_side_file("timing.cache", b"measured")
    assert kept.load_side_file("timing.cache") == b"measured"
