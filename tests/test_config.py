"""Settings: argument > environment > file > default, and errors that name the setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import platformdirs
import pytest
from pydantic import BaseModel, ValidationError

from emostream.config import Settings, load_settings
from emostream.errors import ConfigError

DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_ARGUMENT = 32, 41, 42, 43
VARIABLE = "EMOSTREAM_DETECT__MIN_FACE_PIXELS"


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(f"detect:\n  min_face_pixels: {FROM_FILE}\n")
    return path


@pytest.mark.parametrize("with_argument", [True, False], ids=["argument", ""])
@pytest.mark.parametrize("with_environment", [True, False], ids=["environment", ""])
@pytest.mark.parametrize("with_file", [True, False], ids=["file", ""])
def test_precedence(
    monkeypatch: pytest.MonkeyPatch, config_file: Path, with_argument: bool, with_environment: bool, with_file: bool
) -> None:
    arguments = {"detect": {"min_face_pixels": FROM_ARGUMENT}} if with_argument else {}
    if with_environment:
        monkeypatch.setenv(VARIABLE, str(FROM_ENVIRONMENT))
    expected = (
        FROM_ARGUMENT
        if with_argument
        else FROM_ENVIRONMENT
        if with_environment
        else FROM_FILE
        if with_file
        else DEFAULT
    )
    settings = load_settings(config_file=config_file if with_file else None, **arguments)
    assert settings.detect.min_face_pixels == expected


def test_sources_are_merged_within_a_section(monkeypatch: pytest.MonkeyPatch, config_file: Path) -> None:
    monkeypatch.setenv("EMOSTREAM_DETECT__MIN_SCORE", "0.7")
    detect = load_settings(config_file=config_file, detect={"max_faces": 5}).detect
    assert (detect.min_face_pixels, detect.min_score, detect.max_faces, detect.kind) == (
        FROM_FILE,
        0.7,
        5,
        "centerface",
    )


def test_the_limit_of_faces_is_one_for_frames_and_another_for_pictures_unless_it_is_given() -> None:
    free, given = load_settings().detect, load_settings(detect={"max_faces": 5}).detect
    assert free.max_faces_per_frame < free.max_faces_per_picture
    assert given.max_faces_per_frame == given.max_faces_per_picture == 5


def test_the_environment_may_name_the_file(monkeypatch: pytest.MonkeyPatch, config_file: Path) -> None:
    monkeypatch.setenv("EMOSTREAM_CONFIG", str(config_file))
    assert load_settings().detect.min_face_pixels == FROM_FILE


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert load_settings(config_file=path).model_dump() == load_settings().model_dump()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("detect: [", "not readable YAML"),
        ("- a\n- b\n", "names and values, got a list"),
        ("just text", "names and values, got a str"),
        ("\x00", "not readable YAML"),
        ("detect:\n  min_face_pixel: 5\n", r"detect\.min_face_pixel: no such setting"),
        ("detekt: {}\n", "detekt: no such setting"),
        ("detect:\n  min_face_pixels: tiny\n", r"detect\.min_face_pixels: .* got 'tiny'"),
        ("detect:\n  min_face_pixels: 5\n", r"detect\.min_face_pixels: .* got 5"),
        ("detect: 5\n", "detect: "),
    ],
)
def test_a_wrong_file_is_one_clear_error(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(config_file=path)
    assert "settings.yaml" in str(caught.value)


def test_bytes_that_are_no_text_are_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError):
        load_settings(config_file=path)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        load_settings(config_file=tmp_path / name)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (VARIABLE, "tiny", r"detect\.min_face_pixels: .* got 'tiny'"),
        ("EMOSTREAM_DETECT__NO_SUCH", "1", r"detect\.no_such: no such setting"),
        ("EMOSTREAM_LOG_LEVEL", "loud", "log_level: .* got 'loud'"),
        ("EMOSTREAM_PUBLISH__MAX_EVENTS_PER_STREAM", "1", r"publish\.max_events_per_stream"),
        ("EMOSTREAM_DETEKT__MIN_SCORE", "0.5", r"EMOSTREAM_DETEKT__MIN_SCORE: no settings are called detekt"),
        ("EMOSTREAM_SERVICE__ALLOWED_NETWORKS", "10.0.0.0/8", r"EMOSTREAM_SERVICE__ALLOWED_NETWORKS: lists .* JSON"),
        ("EMOSTREAM_CLASSIFY", "fast", r"EMOSTREAM_CLASSIFY: .* JSON"),
    ],
)
def test_a_wrong_variable_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=message):
        load_settings()


def test_an_empty_variable_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv("EMOSTREAM_SERVICE__MEDIA_ROOT", "")
    monkeypatch.setenv("EMOSTREAM_SERVICE__ALLOWED_NETWORKS", "")
    assert load_settings() == Settings()


def test_what_kubernetes_sets_for_a_service_of_our_name_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("EMOSTREAM_PORT_8000_TCP_ADDR", "10.0.0.1")
    assert load_settings() == Settings()


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"min_score.*max_iou"):
        load_settings(detect={"min_score": 5, "max_iou": -1})


def test_the_redis_url_prints_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_PUBLISH__REDIS_URL", "redis://:secret@host/0")
    settings = load_settings()
    assert settings.publish.redis_url is not None
    assert settings.publish.redis_url.get_secret_value() == "redis://:secret@host/0"
    for text in (repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "secret" not in text


def test_a_wrong_redis_url_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ConfigError, match="redis_url") as caught:
        load_settings(publish={"redis_url": ["redis://:secret@host/0"]})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", [{"sha256": "hunter2"}, {"token": "hunter2"}, "hunter2"])
def test_a_token_in_place_of_its_hash_is_not_repeated_in_the_error(token: object) -> None:
    with pytest.raises(ConfigError, match=r"service\.tokens\.0") as caught:
        load_settings(service={"tokens": [token]})
    assert "hunter2" not in str(caught.value)


def test_the_cache_folder_follows_the_platform_and_can_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings().models.cache_dir == platformdirs.user_cache_path("emostream") / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_settings().models.cache_dir == tmp_path / "emostream" / "models"
    monkeypatch.setenv("EMOSTREAM_MODELS__CACHE_DIR", str(tmp_path / "own"))
    assert load_settings().models.cache_dir == tmp_path / "own"


def test_settings_do_not_change() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.log_level = "debug"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.detect.min_score = 0.1  # type: ignore[misc]


def _sections(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(name, field) for name, field in model.model_fields.items()]


def test_every_setting_is_described() -> None:
    for section, field in _sections(Settings):
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for name, inner in _sections(field.annotation):
                assert inner.description, f"{section}.{name} has no description"
        else:
            assert field.description, f"{section} has no description"
