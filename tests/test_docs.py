"""What the documents say is there, is there: links, commands, settings, variables, metrics, modules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

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
PROSE_COLUMNS = 100
# Written by `training.model_card`, or written anew at the moment.
OTHER_VARIABLES = {"EMOSTREAM_CONFIG", "EMOSTREAM_SERVICE_URL", "EMOSTREAM_SERVICE_TOKEN", "EMOSTREAM_REQUIRE_GPU"}
OTHER_DOTTED_NAMES = {"service.instance.id"}  # of OpenTelemetry


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _wrong(check: Callable[[Path], Iterable[str]], documents: Iterable[Path] = DOCUMENTS) -> list[str]:
    """What a check finds in the documents, each with its document."""
    return [f"{path.relative_to(REPOSITORY)}: {found}" for path in documents for found in check(path)]


def test_the_documents_are_found() -> None:
    names = {str(path.relative_to(REPOSITORY)) for path in DOCUMENTS}
    assert names >= {"README.md", "CHANGELOG.md", "docs/cli.md", "training/README.md", "helm/emostream/README.md"}
    assert {path for path in DOCUMENTS if path.parent.name == "decisions"}


def test_relative_links_lead_somewhere() -> None:
    assert _wrong(_dead_links) == []


def _dead_links(document: Path) -> Iterator[str]:
    links = re.findall(r"\]\(([^)\s]+)", _text(document))
    relative = [link.partition("#") for link in links if "://" not in link and not link.startswith("mailto:")]
    for name, _, anchor in relative:
        target = document.parent / name if name else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            yield f"{name}#{anchor}"


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


def test_commands_and_their_options_exist() -> None:
    root = typer.main.get_command(app)

    def unknown(document: Path) -> Iterator[str]:
        for words in _commands_in(document):
            command = root
            rest = words[1:]
            while rest and rest[0] in getattr(command, "commands", {}):
                command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]
            if rest and hasattr(command, "commands"):
                yield f"{' '.join(words)}: there is no such command"
                continue
            known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
            options = {word.partition("=")[0] for word in rest if word.startswith("--")}
            yield from (f"{' '.join(words)}: unknown {option}" for option in options - known - {"--help"})

    assert _wrong(unknown) == []


def _names_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Every setting, dotted."""
    names = set()
    for name, field in model.model_fields.items():
        names.add(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= _names_of(field.annotation, f"{prefix}{name}.")
    return names


def test_settings_and_variables_exist() -> None:
    known = _names_of(Settings)
    values = {value.path for value in described_values(_text(REPOSITORY / "helm" / "emostream" / "values.yaml"))}
    sections = "|".join(Settings.model_fields)
    variables = OTHER_VARIABLES | {f"EMOSTREAM_{name.replace('.', '__').upper()}" for name in known}

    def unknown(document: Path) -> Iterator[str]:
        dotted = set(re.findall(rf"`((?:{sections})(?:\.[a-z_A-Z]+)+)", _text(document)))
        dotted = {name for name in dotted if not name.endswith((".py", ".csv", ".json"))}
        yield from dotted - known - values - OTHER_DOTTED_NAMES
        yield from set(re.findall(r"EMOSTREAM_[A-Z_]+[A-Z]", _text(document))) - variables

    # The change log also tells what there was.
    assert _wrong(unknown, [document for document in DOCUMENTS if document.name != "CHANGELOG.md"]) == []


def test_metrics_exist() -> None:
    units = "total|seconds|bytes|ratio|info|events|faces|streams|size"

    def unknown(document: Path) -> set[str]:
        names = set(re.findall(rf"\bemostream_[a-z_]+_(?:{units})\b", _text(document)))
        return {name.removesuffix("_bucket") for name in names} - METRICS.keys()

    assert _wrong(unknown) == []


def test_modules_that_are_run_exist() -> None:
    assert _wrong(_missing_modules) == []


def _missing_modules(document: Path) -> Iterator[str]:
    for name in re.findall(r"python -m ((?:emostream|training|tests|helm)[\w.]*)", _text(document)):
        path = REPOSITORY / name.replace(".", "/")
        if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists()):
            yield name


def test_lines_of_prose_are_at_most_100_columns() -> None:
    assert _wrong(_wide_lines, DOCUMENTS) == []


def _wide_lines(document: Path) -> Iterator[str]:
    """Not those of code blocks and tables, nor what cannot be broken: a line without a space before column 100."""
    in_code = False
    for number, line in enumerate(_text(document).splitlines(), start=1):
        if line.lstrip().startswith(("```", "~~~")):
            in_code = not in_code
        elif not in_code and len(line) > PROSE_COLUMNS and not line.lstrip().startswith("|"):
            indent = re.match(r"\s*(?:(?:[-*>]|\d+\.)\s+)*", line)
            if indent is None or " " in line[indent.end() : PROSE_COLUMNS + 1]:
                yield f"line {number} has {len(line)} columns"


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
