"""What the documents say is there, is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from emostream import errors
from emostream.cli import app
from tests.conftest import REPOSITORY

DOCUMENTS = sorted(
    path
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("*/README.md")]
    if not path.is_relative_to(REPOSITORY / ".venv")
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    relative = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    missing = [link for link in relative if not (document.parent / link).exists()]
    assert not missing


def _commands_in(document: Path) -> list[list[str]]:
    """The words of every `emostream …` line in a shell block."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line.partition("#")[0].split() for line in lines if line.startswith("emostream ")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_commands_and_their_options_exist(document: Path) -> None:
    root = typer.main.get_command(app)
    for words in _commands_in(document):
        command = root
        rest = words[1:]
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        assert not hasattr(command, "commands"), f"{' '.join(words)}: there is no such command"
        known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert options <= known | {"--help"}, f"{' '.join(words)}: unknown {', '.join(options - known)}"


def test_the_exit_codes_of_readme_are_those_of_the_errors() -> None:
    table = re.findall(r"^\| (\d+) \|", (REPOSITORY / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    raised = {value.exit_code for value in classes if issubclass(value, errors.EmostreamError)}
    assert {int(code) for code in table} == raised | {0, 70, 130}


def test_make_targets_in_readme_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z-]+)", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
