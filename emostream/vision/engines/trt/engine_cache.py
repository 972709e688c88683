"""Engines that were compiled on this machine, each under the key of all it depends on.

An engine is a file and a JSON file beside it, which names the key, the engine's hash, what it takes and gives, and on
which GPU it was proved. Both appear complete or not at all. What is damaged or belongs to another key counts as absent.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emostream.errors import ConfigError
from emostream.files import write_whole
from emostream.vision.engines.trt.build import BuiltEngine
from emostream.vision.engines.trt.cuda import Gpu
from emostream.vision.engines.trt.package import TrtPackage
from emostream.vision.engines.trt.profile import ShapeProfile

logger = logging.getLogger(__name__)

FOLDER_NAME = "engines"
"""In the folder of the model store."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that an engine depends on: another value of any of these is another engine.

    Attributes:
        model_sha256: of the ONNX model that is compiled.
        precision: of its arithmetic.
        profiles: shapes of its input.
        package: name and version of TensorRT.
        target: the GPU and its CUDA version; for an engine of TensorRT-RTX, which needs no GPU to be built and runs on
            all of a family, that family.
    """

    model_sha256: str
    precision: str
    profiles: tuple[str, ...]
    package: str
    target: str

    def digest(self) -> str:
        """A short name for the key."""
        return short_digest(json.dumps(dataclasses.asdict(self), sort_keys=True))


def short_digest(text: str) -> str:
    """A file name for a text that cannot be one: 16 hex digits of its hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def engine_key(
    onnx_model: bytes, *, precision: str, profiles: tuple[ShapeProfile, ...], package: TrtPackage, gpu: Gpu | None
) -> EngineKey:
    """The key of the engine that this package makes of this model, for this GPU (None: on a machine without one)."""
    if package.is_rtx:
        target = "compute capability 7.5" if gpu and gpu.compute_capability == (7, 5) else "compute capability ≥ 8.0"
    else:
        target = "no GPU" if gpu is None else str(gpu)
    return EngineKey(
        model_sha256=hashlib.sha256(onnx_model).hexdigest(),
        precision=precision,
        profiles=tuple(map(str, profiles)),
        package=f"{package.name} {package.version}",
        target=target,
    )


@dataclass(frozen=True, slots=True)
class CachedEngine:
    """An engine as it lies in the cache.

    Attributes:
        path: of the file.
        content: the serialised engine.
        details: what the file beside it says.
    """

    path: Path
    content: bytes
    details: dict[str, Any]

    def __repr__(self) -> str:
        return f"CachedEngine({self.path}, {len(self.content)} bytes)"

    def proof_on(self, gpu: Gpu) -> dict[str, Any] | None:
        """What the comparison with its reference on this GPU gave; None when there was none yet."""
        proof = self.details["proofs"].get(str(gpu))
        return proof if isinstance(proof, dict) else None


class EngineCache:
    """A folder of engines; several processes may use it at once.

    Args:
        cache_dir: the model store's folder.
        must_keep: whether a folder that cannot be written is an error; else it is logged, and engines live as long as
            the process.
    """

    def __init__(self, cache_dir: Path, *, must_keep: bool = True) -> None:
        self._folder = cache_dir / FOLDER_NAME
        self._must_keep = must_keep

    def path_of(self, name: str, key: EngineKey) -> Path:
        """Where the engine of this model lies, or would."""
        package = key.package.partition(" ")[0]
        return self._folder / f"{name}-{key.precision}-{package}-{key.digest()}.engine"

    def load(self, name: str, key: EngineKey) -> CachedEngine | None:
        """The engine, or None when it is not there, damaged, or of another key."""
        path = self.path_of(name, key)
        try:
            details = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            content = path.read_bytes()
        except (OSError, ValueError):
            return None
        if not isinstance(details, dict) or details.get("sha256") != hashlib.sha256(content).hexdigest():
            logger.warning("engine %s is damaged; it is built again", path)
            return None
        if details.get("key") != _plain(key) or not isinstance(details.get("proofs"), dict):
            return None
        return CachedEngine(path, content, details)

    def store(self, name: str, key: EngineKey, built: BuiltEngine) -> CachedEngine:
        """Keep a new engine, in place of an older one of the same key.

        Raises:
            ConfigError: the folder cannot be written, and must be.
        """
        path = self.path_of(name, key)
        details = {
            "key": _plain(key),
            "sha256": hashlib.sha256(built.content).hexdigest(),
            "signature": _plain(built.signature),
            "proofs": {},
        }
        self._keep(path, built.content)
        self._keep_details(path, details)
        return CachedEngine(path, built.content, details)

    def add_proof(self, engine: CachedEngine, gpu: Gpu, proof: dict[str, Any]) -> CachedEngine:
        """Remember that the engine was compared with its reference on this GPU."""
        details = {**engine.details, "proofs": {**engine.details["proofs"], str(gpu): proof}}
        self._keep_details(engine.path, details)
        return dataclasses.replace(engine, details=details)

    def forget(self, engine: CachedEngine) -> None:
        """Remove an engine that does not load."""
        for path in (engine.path, engine.path.with_suffix(".json")):
            path.unlink(missing_ok=True)

    def load_side_file(self, name: str) -> bytes | None:
        """A timing or runtime cache; None when it is not there."""
        path = self._folder / name
        return path.read_bytes() if path.is_file() else None

    def store_side_file(self, name: str, content: bytes) -> None:
        """Keep a timing or runtime cache; losing it costs time, so a folder that cannot be written is only logged."""
        try:
            self._write(self._folder / name, content)
        except ConfigError as exc:
            logger.info("%s", exc)

    def _keep_details(self, path: Path, details: dict[str, Any]) -> None:
        self._keep(path.with_suffix(".json"), json.dumps(details, indent=1).encode())

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            self._write(path, content)
        except ConfigError as exc:
            if self._must_keep:
                raise
            logger.warning("%s; this process goes on without, the next one compiles again", exc)

    def _write(self, path: Path, content: bytes) -> None:
        """All of it or nothing, whoever else writes the same file."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, content, is_shared=True)
        except OSError as exc:
            raise ConfigError(
                f"engines cannot be kept in {self._folder}: {exc.strerror or exc}; make room or grant access there, or "
                "name another folder (models.cache_dir, EMOSTREAM_MODELS__CACHE_DIR)"
            ) from exc


def _plain(value: Any) -> Any:
    """A dataclass as JSON reads it back."""
    return json.loads(json.dumps(dataclasses.asdict(value)))
