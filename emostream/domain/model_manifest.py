"""The model manifest: the contract between `training/` and the service.

A model is an ONNX file with a JSON manifest of the same name beside it. Nothing is derived from file names: labels,
input size and measurements are in the manifest, which identifies its file by hash.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from emostream.domain.event import class_name_problem
from emostream.domain.fields import MAX_NAME_LENGTH
from emostream.errors import ManifestError, ModelUnavailableError

MANIFEST_VERSION: Literal[1] = 1


class ModelManifest(BaseModel):
    """What a classifier model takes and returns, and how it was made.

    Input `input_name`: uint8, n×size×size, gray. Each of `outputs`: float32, n×len(labels), probabilities in the order
    of `labels`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest_version: Literal[1] = MANIFEST_VERSION
    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH)
    """Short name; part of every event."""
    version: str = Field(min_length=1, max_length=MAX_NAME_LENGTH)
    """Version of the weights; part of every event."""
    file: str
    """Name of the model file beside this manifest."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of the model file."""
    labels: tuple[str, ...] = Field(min_length=2)
    input_name: str = "crops"
    input_size_pixels: int = Field(gt=0)
    outputs: tuple[str, ...] = ("probabilities", "fer2013_probabilities")
    """The first one is used for events."""
    other_votes_output: str | None = None
    """A further output, float32, n×3: the shares of people who would say contempt, unknown, and not a face (FER+)."""
    max_batch_size: int = Field(gt=0)
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    layout: Literal["cpu", "vnni", "tensorrt"] = "cpu"
    """Platform of an INT8 variant: ONNX Runtime on any CPU, on a CPU with 8-bit dot products (others would overflow),
    or TensorRT, which accepts neither of these."""
    architecture: str
    checkpoint_sha256: str | None = None
    training_data: str
    licence: str | None = None
    """Of the weights; None where unknown."""
    tools: dict[str, str] = {}
    """Tool → version, of the tools that made the file."""
    metrics: dict[str, float] = {}
    """Measured values by metric and split, for example `publictest_accuracy`."""

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) != len(labels):
            raise ValueError(f"expected different labels, got {labels}")
        if problem := next(filter(None, map(class_name_problem, labels)), None):
            raise ValueError(f"label {problem}")
        return labels


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_path_for(model_path: Path) -> Path:
    """Path of a model's manifest: `model.onnx` → `model.json`."""
    return model_path.with_suffix(".json")


def load_manifest(model_path: Path) -> ModelManifest:
    """Read a model's manifest and check it, including the file's hash.

    Raises:
        ModelUnavailableError: the model file or its manifest does not exist.
        ManifestError: the manifest cannot be read or does not match the file.
    """
    path = manifest_path_for(model_path)
    for needed in (model_path, path):
        if not needed.is_file():
            raise ModelUnavailableError(
                f"model file {needed} does not exist; a model is an .onnx file with its .json manifest beside it, "
                "as written by `python -m training.export`"
            )
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        manifest = ModelManifest.model_validate(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise ManifestError(f"manifest {path} is not JSON ({exc}); export the model again") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise ManifestError(f"manifest {path} is not valid: {where}: {first['msg']}; export the model again") from exc
    actual = sha256_of(model_path)
    if actual != manifest.sha256:
        raise ManifestError(
            f"model file {model_path} does not match its manifest: expected sha256 {manifest.sha256[:12]}…, got "
            f"{actual[:12]}…; the file is damaged or belongs to another manifest; copy both again or export again"
        )
    return manifest


def save_manifest(manifest: ModelManifest, *, model_path: Path) -> Path:
    """Write the manifest beside its model file and return its path."""
    path = manifest_path_for(model_path)
    # Versions before this field refuse what they do not know.
    unused = {"other_votes_output"} if manifest.other_votes_output is None else None
    path.write_text(manifest.model_dump_json(indent=2, exclude=unused) + "\n", encoding="utf-8")
    return path
