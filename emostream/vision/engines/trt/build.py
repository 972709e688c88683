"""Compiles ONNX models to engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emostream.errors import ManifestError
from emostream.vision.engines.trt.package import TrtPackage, first_reason
from emostream.vision.engines.trt.profile import ShapeProfile


@dataclass(frozen=True, slots=True)
class TensorSignature:
    """An input or output of an engine.

    Attributes:
        name: as in the model.
        dtype: as NumPy names it.
        shape: -1 where a side varies.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineSignature:
    """Inputs and outputs of an engine.

    Attributes:
        inputs, outputs: in the order of the model.
        profiles: the shapes that its only input may have.
    """

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    profiles: tuple[ShapeProfile, ...]


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """A newly compiled engine.

    Attributes:
        content: the serialised engine.
        signature: its inputs and outputs.
        timing_cache: measurements of this build, for the next one on this GPU; None for TensorRT-RTX.
    """

    content: bytes
    signature: EngineSignature
    timing_cache: bytes | None

    def __repr__(self) -> str:
        return f"BuiltEngine({len(self.content)} bytes, {self.signature})"


def build_engine(
    package: TrtPackage,
    onnx_model: bytes,
    *,
    profiles: Sequence[ShapeProfile],
    compute_capability: tuple[int, int] | None = None,
    timing_cache: bytes | None = None,
) -> BuiltEngine:
    """Compile an ONNX model with one input. The engine has the model's precision (strongly typed network).

    Args:
        package: TensorRT needs the GPU that will run the engine; TensorRT-RTX needs none.
        onnx_model: opset 17 or older.
        profiles: shapes of the input; each becomes an optimization profile.
        compute_capability: of the GPU, where there is one.
        timing_cache: from an earlier build; an invalid one is ignored.

    Raises:
        ManifestError: the package cannot parse or compile this model.
        EngineUnavailableError: the package cannot build here, for example without a GPU.
    """
    trt = package.module
    with package.log.errors() as errors:
        builder = package.make("Builder", errors)
        network = _parsed(package, builder, onnx_model)
        config = builder.create_builder_config()
        _add_profiles(builder, config, network.get_input(0).name, profiles)
        # FP32 must mean FP32; FP16 is the choice for fewer digits, at twice the speed of TF32.
        config.clear_flag(trt.BuilderFlag.TF32)
        if package.is_rtx:
            _target(trt, config, compute_capability)
        else:
            config.set_timing_cache(config.create_timing_cache(timing_cache or b""), ignore_mismatch=False)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise ManifestError(f"{package.name} {package.version} cannot compile this model: {first_reason(errors)}")
    measured = None if package.is_rtx else bytes(config.get_timing_cache().serialize())
    return BuiltEngine(bytes(plan), _signature(trt, network, profiles), measured)


def _parsed(package: TrtPackage, builder: Any, onnx_model: bytes) -> Any:
    trt = package.module
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, package.log.handle)
    if not parser.parse(onnx_model):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise ManifestError(f"{package.name} {package.version} cannot parse this model: {first_reason(reasons)}")
    return network


def _add_profiles(builder: Any, config: Any, input_name: str, profiles: Sequence[ShapeProfile]) -> None:
    for shapes in profiles:
        profile = builder.create_optimization_profile()
        profile.set_shape(input_name, shapes.smallest, shapes.best, shapes.largest)
        config.add_optimization_profile(profile)


def _target(trt: Any, config: Any, compute_capability: tuple[int, int] | None) -> None:
    """Engines for 8.0 and later are one file by default; Turing (7.5) must be requested."""
    if compute_capability == (7, 5):
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM75, 0)


def _signature(trt: Any, network: Any, profiles: Sequence[ShapeProfile]) -> EngineSignature:
    def signature_of(tensor: Any) -> TensorSignature:
        return TensorSignature(tensor.name, trt.nptype(tensor.dtype).__name__, tuple(tensor.shape))

    return EngineSignature(
        inputs=tuple(signature_of(network.get_input(index)) for index in range(network.num_inputs)),
        outputs=tuple(signature_of(network.get_output(index)) for index in range(network.num_outputs)),
        profiles=tuple(profiles),
    )
