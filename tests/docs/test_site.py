"""The site: it builds without a warning, asks no other host, and its generated pages are complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generators.http import http_text
from docs.generators.settings import all_settings, item_models, settings_text, unit_of
from emostream.config import load_settings
from emostream.pipeline.build import zones_from
from emostream.service.api.app import build_api
from tests.conftest import REPOSITORY

_FETCHED = re.compile(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?((?:https?:)?//[^\s"'>]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, check=False, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.integration
def test_the_site_builds_strictly_with_every_section(site: Path) -> None:
    pages = {page.stem for page in site.rglob("*.html")}
    assert {"index", "tour", "sources", "training", "cli", "settings", "http", "events", "metrics"} <= pages
    assert {"emostream.client", "emostream.pipeline", "emostream.testing", "emostream.errors"} <= pages


@pytest.mark.slow
@pytest.mark.integration
def test_no_page_fetches_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert _FETCHED.findall(page.read_text(encoding="utf-8")) == [], page.name


@pytest.mark.slow
@pytest.mark.integration
def test_the_page_of_commands_has_each_command(site: Path) -> None:
    page = (site / "cli.html").read_text(encoding="utf-8")
    assert {"emostream-analyze", "emostream-streams-add", "emostream-bench-live"} <= set(
        re.findall(r'id="([^"]+)"', page)
    )


def test_every_setting_has_a_meaning() -> None:
    fields = [(setting.name, setting.field) for setting in all_settings() if setting.section is None]
    fields += [
        (f"{model.__name__}.{name}", field) for model in item_models() for name, field in model.model_fields.items()
    ]
    assert [name for name, field in fields if not (field.description or "").strip()] == []
    assert [setting.name for setting in all_settings() if setting.section and not setting.section.__doc__] == []


def test_the_page_of_settings_has_each_setting_with_its_variable() -> None:
    page = settings_text()
    for setting in all_settings():
        assert f"#{setting.name} }}" in page
        if setting.section is None:
            assert f"`EMOSTREAM_{setting.name.upper().replace('.', '__')}`" in page


def test_examples_among_the_settings_are_settings(tmp_path: Path) -> None:
    examples = re.findall(r"^```yaml\n(.*?)^```$", settings_text(), flags=re.DOTALL | re.MULTILINE)
    assert examples
    file = tmp_path / "emostream.yaml"
    for example in examples:
        file.write_text(example, encoding="utf-8")
        settings = load_settings(config_file=file)
        assert settings != load_settings()
    (entrance,) = zones_from(settings.zones["door"])
    assert entrance.contains(0.1, 0.5)
    assert not entrance.contains(0.1, 0.1)
    assert not entrance.contains(0.5, 0.5)


def test_names_tell_units() -> None:
    units = {setting.name: unit_of(setting.name) for setting in all_settings() if setting.section is None}
    assert units["decode.open_timeout_seconds"] == "seconds"
    assert units["track.detections_per_second"] == "per second"
    assert units["service.max_body_bytes"] == "bytes"
    assert units["publish.redis_url"] == ""


def test_the_page_of_the_interface_has_each_path_and_schema() -> None:
    document = build_api(load_settings(), redis_url="redis://127.0.0.1:9/0").openapi()
    page = http_text()
    for path, operations in document["paths"].items():
        assert all(f"### `{method.upper()} {path}`" in page for method in operations)
    for name in document["components"]["schemas"]:
        assert f"\n### {name}\n" in page
