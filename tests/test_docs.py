"""What the documents say is there, is there: links, commands, settings, variables, metrics, modules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from emostream import errors
from emostream.cli.app import app
from emostream.config import Settings
from emostream.telemetry.metrics import METRICS
from helm.values_table import described_values
from tests.conftest import REPOSITORY

DOCUMENTS = sorted(
    path
    for path in [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *REPOSITORY.glob("*/README.md"),
        REPOSITORY / "helm" / "emostream" / "README.md",
    ]
    if not path.is_relative_to(REPOSITORY / ".venv")
)
OTHER_VARIABLES = {"EMOSTREAM_CONFIG", "EMOSTREAM_SERVICE_URL", "EMOSTREAM_SERVICE_TOKEN", "EMOSTREAM_REQUIRE_GPU"}
OTHER_DOTTED_NAMES = {"service.instance.id"}  # of OpenTelemetry

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@each_document
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)", _text(document))
    relative = [link.partition("#") for link in links if "://" not in link and not link.startswith("mailto:")]
    for name, _, anchor in relative:
        target = document.parent / name if name else document
        assert target.exists(), name
        assert not anchor or target.suffix != ".md" or anchor in _anchors(target), f"{name}#{anchor}"


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _text(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _commands_in(document: Path) -> list[list[str]]:
    """The words of every `emostream …` in a shell block or in a sentence."""
    text = _text(document)
    blocks = re.findall(r"```(?:sh|bash|console)[a-z ]*\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    sentences = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += [" ".join(words.split()) for words in re.findall(r"`(emostream [a-z][^`]*)`", sentences)]
    return [line.partition("#")[0].split() for line in lines if line.startswith("emostream ")]


@each_document
def test_commands_and_their_options_exist(document: Path) -> None:
    root = typer.main.get_command(app)
    for words in _commands_in(document):
        command = root
        rest = words[1:]
        while rest and hasattr(command, "commands"):
            assert rest[0] in command.commands, f"{' '.join(words)}: there is no such command"
            command = command.commands[rest.pop(0)]
        known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert options <= known | {"--help"}, f"{' '.join(words)}: unknown {', '.join(options - known)}"


def _names_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Every setting, dotted."""
    names = set()
    for name, field in model.model_fields.items():
        names.add(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= _names_of(field.annotation, f"{prefix}{name}.")
    return names


@each_document
def test_settings_and_variables_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        pytest.skip("it also tells what there was")
    known = _names_of(Settings)
    values = {value.path for value in described_values(_text(REPOSITORY / "helm" / "emostream" / "values.yaml"))}
    sections = "|".join(Settings.model_fields)
    dotted = set(re.findall(rf"`((?:{sections})(?:\.[a-z_A-Z]+)+)", _text(document)))
    dotted = {name for name in dotted if not name.endswith((".py", ".csv", ".json"))}
    assert dotted <= known | values | OTHER_DOTTED_NAMES
    variables = set(re.findall(r"EMOSTREAM_[A-Z_]+[A-Z]", _text(document)))
    assert variables <= OTHER_VARIABLES | {f"EMOSTREAM_{name.replace('.', '__').upper()}" for name in known}


@each_document
def test_metrics_exist(document: Path) -> None:
    units = "total|seconds|bytes|ratio|info|events|faces|streams|size"
    names = set(re.findall(rf"\bemostream_[a-z_]+_(?:{units})\b", _text(document)))
    assert {name.removesuffix("_bucket") for name in names} <= METRICS.keys()


@each_document
def test_modules_that_are_run_exist(document: Path) -> None:
    ours = re.findall(r"python -m ((?:emostream|training|tests|helm)[\w.]*)", _text(document))
    for name in ours:
        path = REPOSITORY / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name


def test_each_decision_has_a_number_of_its_own() -> None:
    records = sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for number, path in enumerate(records, start=1):
        assert _text(path).startswith(f"# {number}. "), path.name


def test_the_exit_codes_of_the_documents_are_those_of_the_errors() -> None:
    table = re.findall(r"^\| (\d+) \|", _text(REPOSITORY / "docs" / "cli.md"), flags=re.MULTILINE)
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    raised = {value.exit_code for value in classes if issubclass(value, errors.EmostreamError)}
    assert {int(code) for code in table} == raised | {0, 70, 130}


def test_make_targets_in_readme_exist() -> None:
    makefile = _text(REPOSITORY / "Makefile")
    for target in re.findall(r"^make ([a-z-]+)", _text(REPOSITORY / "README.md"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
