"""Cache of the engines compiled on this machine, each under a key of everything that it depends on.

An engine is a file with a JSON file beside it, which holds the key, the engine's hash, its signature, and the GPUs on
which it was verified. Both are written atomically. A damaged file or one with another key counts as absent.
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
"""Name of the folder inside the model store."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that an engine depends on. When a field differs, another engine is built.

    Attributes:
        model_sha256: of the ONNX model that is compiled.
        precision: of the engine.
        profiles: shapes of its input.
        package: name and version of the package that builds it.
        target: the GPU and its CUDA version; for TensorRT-RTX, which builds without a GPU and for a family of GPUs,
            that family.
    """

    model_sha256: str
    precision: str
    profiles: tuple[str, ...]
    package: str
    target: str

    def digest(self) -> str:
        """A short hash of the key."""
        return short_digest(json.dumps(dataclasses.asdict(self), sort_keys=True))


def short_digest(text: str) -> str:
    """16 hex digits of a text's SHA-256, for use in file names."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def engine_key(
    onnx_model: bytes, *, precision: str, profiles: tuple[ShapeProfile, ...], package: TrtPackage, gpu: Gpu | None
) -> EngineKey:
    """The key of an engine.

    Args:
        onnx_model: serialised, in the precision of the engine.
        precision: fp32, fp16 or int8.
        profiles: shapes of its input.
        package: the package that builds it.
        gpu: the GPU that it is built for; None on a machine without one.
    """
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
    """An engine in the cache.

    Attributes:
        path: of the engine file.
        content: the serialised engine.
        details: content of the JSON file beside it.
    """

    path: Path
    content: bytes
    details: dict[str, Any]

    def __repr__(self) -> str:
        return f"CachedEngine({self.path}, {len(self.content)} bytes)"

    def proof_on(self, gpu: Gpu) -> dict[str, Any] | None:
        """Measured differences from the reference on this GPU; None when it was not verified on it yet."""
        proof = self.details["proofs"].get(str(gpu))
        return proof if isinstance(proof, dict) else None


class EngineCache:
    """A folder of engines. Several processes may use it at once.

    Args:
        cache_dir: the model store's folder.
        must_keep: whether failing to write the folder is an error. If not, it is logged, and engines last as long as
            the process.
    """

    def __init__(self, cache_dir: Path, *, must_keep: bool = True) -> None:
        self._folder = cache_dir / FOLDER_NAME
        self._must_keep = must_keep

    def path_of(self, name: str, key: EngineKey) -> Path:
        """Path of a model's engine; the file may not exist."""
        package = key.package.partition(" ")[0]
        return self._folder / f"{name}-{key.precision}-{package}-{key.digest()}.engine"

    def load(self, name: str, key: EngineKey) -> CachedEngine | None:
        """The engine; None when it is missing, damaged or has another key."""
        path = self.path_of(name, key)
        try:
            details = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            content = path.read_bytes()
        except (OSError, ValueError):
            return None
        if not isinstance(details, dict) or details.get("sha256") != hashlib.sha256(content).hexdigest():
            logger.warning("engine %s is damaged; rebuilding it", path)
            return None
        if details.get("key") != _plain(key) or not isinstance(details.get("proofs"), dict):
            return None
        return CachedEngine(path, content, details)

    def store(self, name: str, key: EngineKey, built: BuiltEngine) -> CachedEngine:
        """Store a new engine, replacing an older one of the same key.

        Raises:
            ConfigError: the folder cannot be written, and `must_keep` is set.
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
        """Record that the engine was verified on this GPU."""
        details = {**engine.details, "proofs": {**engine.details["proofs"], str(gpu): proof}}
        self._keep_details(engine.path, details)
        return dataclasses.replace(engine, details=details)

    def forget(self, engine: CachedEngine) -> None:
        """Remove an engine that cannot be loaded."""
        for path in (engine.path, engine.path.with_suffix(".json")):
            path.unlink(missing_ok=True)

    def load_side_file(self, name: str) -> bytes | None:
        """Read a timing or runtime cache; None when it does not exist."""
        path = self._folder / name
        return path.read_bytes() if path.is_file() else None

    def store_side_file(self, name: str, content: bytes) -> None:
        """Store a timing or runtime cache. Failing to write it is only logged, because losing it costs only time."""
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
            logger.warning("%s; the engine is not cached, and the next process compiles it again", exc)

    def _write(self, path: Path, content: bytes) -> None:
        """Write atomically; other processes may write the same file."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, content, is_shared=True)
        except OSError as exc:
            raise ConfigError(
                f"cannot write engines to {self._folder}: {exc.strerror or exc}; free some space or grant access, or "
                "set another folder (models.cache_dir, EMOSTREAM_MODELS__CACHE_DIR)"
            ) from exc


def _plain(value: Any) -> Any:
    """A dataclass as it reads back from JSON."""
    return json.loads(json.dumps(dataclasses.asdict(value)))
