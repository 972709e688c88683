"""The released chart names its images by digest, and the workflow that publishes it fits what is here."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from helm.package_chart import main, values_with_images
from tests.conftest import REPOSITORY
from tests.helm.chart import CHART, Helm, containers, ray_pods

CPU, GPU = "sha256:" + "c" * 64, "sha256:" + "9" * 64
WORKFLOW = (REPOSITORY / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8")
VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")


@pytest.mark.integration
def test_the_packaged_chart_runs_the_images_it_was_released_with(helm: Helm, tmp_path: Path) -> None:
    arguments = ["--repository", "registry.example/team/emostream", "--cpu-digest", CPU, "--gpu-digest", GPU]
    assert main([*arguments, "--destination", str(tmp_path), "--helm", str(helm.program)]) == 0
    (package,) = tmp_path.glob("*.tgz")
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert package.name == f"emostream-{version}.tgz"  # what the workflow pushes
    documents = helm.render({"gpu": {"enabled": True, "use": "classifier"}}, chart=package)
    images = {
        group: {container["image"] for container in containers(pod)} for group, pod in ray_pods(documents).items()
    }
    assert images["head"] == images["streams"] == {f"registry.example/team/emostream@{CPU}"}
    assert images["gpu"] == {f"registry.example/team/emostream@{GPU}"}


def test_only_the_images_change() -> None:
    after = yaml.safe_load(values_with_images(VALUES, repository="r.example/e", cpu_digest=CPU, gpu_digest=GPU))
    before = yaml.safe_load(VALUES)
    assert after.pop("image") == before.pop("image") | {"repository": "r.example/e", "cpuDigest": CPU, "gpuDigest": GPU}
    assert after == before


@pytest.mark.parametrize(
    ("option", "value"),
    [("--cpu-digest", "latest"), ("--gpu-digest", ""), ("--gpu-digest", GPU + "0"), ("--repository", "R:tag me")],
)
def test_malformed_images_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"--repository": "r.example/e", "--cpu-digest": CPU, "--gpu-digest": GPU} | {option: value}
    assert main([part for pair in options.items() for part in pair]) == 2
    assert option in capsys.readouterr().err


def test_actions_of_the_workflow_are_pinned_and_its_files_are_there() -> None:
    steps = yaml.safe_load(WORKFLOW)["jobs"]["publish"]["steps"]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in actions)
    for flavour in ("cpu", "gpu"):
        assert (REPOSITORY / "deploy" / "images" / f"{flavour}.Dockerfile").is_file()


@pytest.mark.integration
def test_scripts_of_the_workflow_are_valid() -> None:
    for step in yaml.safe_load(WORKFLOW)["jobs"]["publish"]["steps"]:
        if "run" in step:
            assert "${{" not in step["run"], "expressions reach scripts through the environment only"
            subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)
