"""Reads a Dockerfile as far as ours go: stages, and their instructions in order."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        name: in capitals, for example `RUN`.
        flags: `--mount=…`, `--from=…` and the like, name → value.
        text: what follows; continued lines are joined.
    """

    name: str
    flags: dict[str, str]
    text: str

    def words(self) -> list[str]:
        """The text as a list: of the JSON form, or split as a shell does."""
        return [str(word) for word in json.loads(self.text)] if self.text.startswith("[") else shlex.split(self.text)


@dataclass(slots=True)
class Stage:
    """A part that begins with FROM.

    Attributes:
        base: image or earlier stage, arguments filled in.
        name: after AS; empty for the last stage, as a rule.
        instructions: what follows FROM.
    """

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all_of(self, name: str) -> list[Instruction]:
        """The instructions of one name."""
        return [item for item in self.instructions if item.name == name]

    def environment(self) -> dict[str, str]:
        """What ENV sets, in order, later ones over earlier ones."""
        found: dict[str, str] = {}
        for item in self.all_of("ENV"):
            found |= dict(word.split("=", 1) for word in shlex.split(item.text.replace("$", r"\$")))
        return {name: value.replace("\\$", "$") for name, value in found.items()}


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """Stages in order, and the arguments before the first of them."""

    stages: list[Stage]
    arguments: dict[str, str]


def read_dockerfile(path: Path) -> Dockerfile:
    """The stages of a file; comments are dropped."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for instruction in _instructions(path.read_text(encoding="utf-8")):
        if instruction.name == "FROM":
            base, _, name = instruction.text.partition(" AS ")
            stages.append(Stage(_filled(base.strip(), arguments), name.strip()))
        elif not stages:
            name, _, default = instruction.text.partition("=")
            arguments[name] = default
        else:
            stages[-1].instructions.append(instruction)
    return Dockerfile(stages, arguments)


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, rest = line.partition(" ")
        flags: dict[str, str] = {}
        rest = rest.strip()
        while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        yield Instruction(name.upper(), flags, rest)


def _filled(text: str, arguments: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], text)
