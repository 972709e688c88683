"""The variants of the packaged emotion model, and the one that an engine is compiled from."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from emostream.config import ClassifySettings
from emostream.domain.model_manifest import ModelManifest, load_manifest
from emostream.errors import ConfigError

Precision = Literal["fp32", "fp16", "int8"]
PackagedVariant = Literal["int8", "fp32", "fp16", "int8-tensorrt"]

PACKAGED_VARIANTS: dict[PackagedVariant, str] = {
    "int8": "emotions.onnx",
    "fp32": "emotions-fp32.onnx",
    "fp16": "emotions-fp16.onnx",
    "int8-tensorrt": "emotions-int8-tensorrt.onnx",
}
"""Variant → file in `emostream/models`, as written by `python -m training.export --all`."""


def packaged_variant_path(variant: PackagedVariant) -> Path:
    """Path of a packaged variant. The file may not exist: not every variant ships."""
    return Path(str(files("emostream.models").joinpath(PACKAGED_VARIANTS[variant])))


@dataclass(frozen=True, slots=True)
class EngineSource:
    """The model that a TensorRT engine is compiled from.

    Attributes:
        manifest: the model's manifest, with the engine's precision.
        onnx_model: the serialised ONNX model in that precision.
        reference: the model file that ONNX Runtime runs for comparison; its manifest lies beside it.
        is_derived: whether the model was just converted from the reference, so that no export has verified it.
    """

    manifest: ModelManifest
    onnx_model: bytes
    reference: Path
    is_derived: bool

    def __repr__(self) -> str:
        return f"EngineSource({self.manifest.name} {self.manifest.precision}, reference {self.reference})"


def engine_source(settings: ClassifySettings) -> EngineSource:
    """The model that the settings name, in the precision that they ask for; FP16 when precision is `auto`.

    FP16 is converted from the FP32 variant as in the export. INT8 needs activation ranges of real crops, and so a
    variant that was exported for TensorRT.

    Raises:
        ModelUnavailableError: a file does not exist.
        ManifestError: a file is damaged, or cannot be converted.
        ConfigError: the model does not exist in this precision.
    """
    path = settings.model or packaged_variant_path("int8-tensorrt" if settings.precision == "int8" else "fp32")
    if settings.model is None and not path.is_file():
        raise ConfigError(
            "this package has no INT8 variant for TensorRT; set classify.precision to fp16, or classify.model to a "
            "file made by `python -m training.export --variant int8-tensorrt`"
        )
    manifest = load_manifest(path)
    wanted = _wanted_precision(settings, manifest, path)
    if manifest.precision == "int8" and manifest.layout != "tensorrt":
        raise ConfigError(
            f"model {path} is INT8 for CPUs, which TensorRT does not accept; set classify.model to the FP32 variant, "
            "or to one made by `python -m training.export --variant int8-tensorrt`"
        )
    reference = path if settings.model is not None else packaged_variant_path("fp32")
    if wanted == manifest.precision:
        return EngineSource(manifest, path.read_bytes(), reference, is_derived=False)
    return EngineSource(manifest.model_copy(update={"precision": wanted}), _half_of(path), reference, is_derived=True)


def _wanted_precision(settings: ClassifySettings, manifest: ModelManifest, path: Path) -> Precision:
    if settings.precision == "auto":
        return "fp16" if manifest.precision == "fp32" else manifest.precision
    if settings.precision in (manifest.precision, "fp16" if manifest.precision == "fp32" else ""):
        return settings.precision
    raise ConfigError(
        f"model {path} is {manifest.precision}, settings ask for {settings.precision} (classify.precision); export "
        "that variant with `python -m training.export --variant` and name it in classify.model"
    )


def _half_of(path: Path) -> bytes:
    import onnx

    from emostream.vision.engines.half_precision import half_from_full

    return bytes(half_from_full(onnx.load(path)).SerializeToString(deterministic=True))
