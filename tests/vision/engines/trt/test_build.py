"""Engines built by TensorRT-RTX, on a machine without a GPU as well."""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

import pytest

from emostream.errors import EngineUnavailableError, ManifestError
from emostream.vision.engines.half_precision import half_from_full
from emostream.vision.engines.trt.build import TensorSignature, build_engine
from emostream.vision.engines.trt.cuda import find_gpu
from emostream.vision.engines.trt.engine import TrtEngine
from emostream.vision.engines.trt.package import TrtName, TrtPackage, load_package
from emostream.vision.engines.trt.profile import ShapeProfile, fixed
from tests.vision.engines.trt.models import SIDE, tiny_model

PROFILES = tuple(fixed((batch, SIDE, SIDE)) for batch in (1, 4))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_takes_and_gives_what_the_model_does(rtx: TrtPackage, precision: str) -> None:
    model = tiny_model() if precision == "fp32" else half_from_full(tiny_model())
    built = build_engine(rtx, model.SerializeToString(), profiles=PROFILES)
    assert len(built.content) > 1000
    assert built.signature.inputs == (TensorSignature("crops", "uint8", (-1, SIDE, SIDE)),)
    assert built.signature.outputs == (TensorSignature("probabilities", "float32", (-1, 7)),)
    assert built.signature.profiles == PROFILES
    assert built.timing_cache is None  # TensorRT-RTX measures nothing while building


def test_an_engine_for_turing_is_another_one(rtx: TrtPackage) -> None:
    model = half_from_full(tiny_model()).SerializeToString()
    portable = build_engine(rtx, model, profiles=PROFILES, compute_capability=(8, 6))
    turing = build_engine(rtx, model, profiles=PROFILES, compute_capability=(7, 5))
    assert len(turing.content) != len(portable.content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a model", "Failed to parse"),
        (tiny_model(is_quantized=True).SerializeToString(), "input has type Int32"),
    ],
    ids=["rubbish", "int32-bias"],
)
def test_a_model_that_it_does_not_take_is_refused_with_its_reason(rtx: TrtPackage, content: bytes, reason: str) -> None:
    with pytest.raises(ManifestError, match=rf"tensorrt_rtx {rtx.version} .*{reason}"):
        build_engine(rtx, content, profiles=PROFILES)


def test_a_profile_of_another_shape_is_refused_with_its_reason(rtx: TrtPackage) -> None:
    with pytest.raises(ManifestError):
        build_engine(rtx, tiny_model().SerializeToString(), profiles=[fixed((1, 9, 9))])


def test_shapes_may_vary(rtx: TrtPackage) -> None:
    model = tiny_model()
    for axis, name in ((1, "height"), (2, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    profile = ShapeProfile((1, 8, 8), (1, 16, 32), (1, 64, 64))
    built = build_engine(rtx, model.SerializeToString(), profiles=[profile])
    assert built.signature.inputs[0].shape == (-1, -1, -1)


def test_what_the_package_says_goes_to_the_log_and_not_to_the_terminal(
    rtx: TrtPackage, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, logger="emostream"), pytest.raises(ManifestError):
        build_engine(rtx, b"not a model", profiles=PROFILES)
    assert "emostream.vision.engines.trt.package" in {record.name for record in caplog.records}
    assert capfd.readouterr() == ("", "")


# --- what is missing --------------------------------------------------------------------------------------------------


def has_gpu() -> bool:
    try:
        find_gpu()
    except EngineUnavailableError:
        return False
    return True


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_running_without_a_gpu_says_what_is_missing(rtx: TrtPackage) -> None:
    built = build_engine(rtx, tiny_model().SerializeToString(), profiles=PROFILES)
    with pytest.raises(EngineUnavailableError, match="NVIDIA GPU"):
        TrtEngine(rtx, built.content, gpu=find_gpu())


@pytest.mark.parametrize(
    ("name", "remedy"), [("tensorrt", "pip install tensorrt-cu13"), ("tensorrt_rtx", r"pip install 'emostream\[gpu\]'")]
)
@pytest.mark.parametrize("error", [ModuleNotFoundError("gone", name="gone"), OSError("libnvinfer.so.10 is missing")])
def test_a_missing_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: TrtName, remedy: str, error: Exception
) -> None:
    def fails(_: str) -> ModuleType:
        raise error

    monkeypatch.setattr(importlib, "import_module", fails)
    load_package.cache_clear()
    with pytest.raises(EngineUnavailableError, match=remedy) as caught:
        load_package(name)
    assert "gone is not installed" in str(caught.value) or "libnvinfer.so.10 is missing" in str(caught.value)


def test_a_missing_cuda_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: str) -> ModuleType:
        raise ModuleNotFoundError(name="cuda")

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(EngineUnavailableError, match=r"cuda-bindings.*emostream\[gpu\]"):
        find_gpu()


def test_rtx_runs_on_rtx_gpus_only(rtx: TrtPackage) -> None:
    assert rtx.runs_on((8, 6))
    assert rtx.runs_on((12, 0))
    assert not rtx.runs_on((9, 0))
