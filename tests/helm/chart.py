"""Renders the chart with the real Helm."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY

CHART = REPOSITORY / "helm" / "emostream"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
RELEASE, NAMESPACE = "demo", "watch"

Document = dict[str, Any]


class RenderError(Exception):
    """Helm refused; the text is what it said."""


@dataclass(frozen=True)
class Helm:
    """Helm with a home of its own, so that nothing of the developer's is read or changed.

    Attributes:
        program: Helm.
        home: an empty folder.
    """

    program: Path
    home: Path

    def run(self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> str:
        """What it prints.

        Raises:
            RenderError: it failed.
        """
        own = {"HOME": str(self.home), "PATH": os.environ["PATH"], "KUBECONFIG": str(self.home / "none")}
        result = subprocess.run(
            [str(self.program), *arguments],
            input=stdin,
            env=own | dict(environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise RenderError(result.stderr + result.stdout)
        return result.stdout

    def render(
        self, values: Mapping[str, Any] | None = None, *, files: Sequence[Path] = (), chart: Path = CHART
    ) -> list[Document]:
        """The documents for these values, over those of the files.

        Raises:
            RenderError: the values or the templates are not valid.
        """
        arguments = ["template", RELEASE, str(chart), "--namespace", NAMESPACE]
        for file in files:
            arguments += ["--values", str(file)]
        text = self.run(*arguments, "--values", "-", stdin=json.dumps(values or {}))
        return [document for document in yaml.safe_load_all(text) if document]


def named(documents: Sequence[Document], kind: str) -> dict[str, Document]:
    """Name → document, of one kind."""
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def only(documents: Sequence[Document], kind: str) -> Document:
    """The one document of a kind."""
    (found,) = named(documents, kind).values()
    return found


def ray_pods(documents: Sequence[Document]) -> dict[str, Document]:
    """Group → pod template of the Ray cluster; the head is `head`."""
    cluster = only(documents, "RayService")["spec"]["rayClusterConfig"]
    workers = {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"]} | workers


def pods(documents: Sequence[Document]) -> dict[str, Document]:
    """Every pod template there is, by the name of what makes it."""
    found = dict(ray_pods(documents))
    for kind in ("StatefulSet", "Job"):
        found |= {f"{kind} {name}": item["spec"]["template"] for name, item in named(documents, kind).items()}
    for name, item in named(documents, "CronJob").items():
        found[f"CronJob {name}"] = item["spec"]["jobTemplate"]["spec"]["template"]
    return found | {f"Pod {name}": item for name, item in named(documents, "Pod").items()}


def containers(template: Document) -> Iterator[Document]:
    """All containers of a pod, those that run first included."""
    yield from template["spec"].get("initContainers", [])
    yield from template["spec"]["containers"]


def environment_of(container: Document) -> dict[str, Any]:
    """Name → value, or where it comes from."""
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container.get("env", [])}


def serve_config(documents: Sequence[Document]) -> dict[str, Any]:
    """The configuration of Ray Serve inside the RayService."""
    config: dict[str, Any] = yaml.safe_load(only(documents, "RayService")["spec"]["serveConfigV2"])
    return config
