"""The images: what their Dockerfiles say, and their steps run on a copy of this machine."""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import typer

from emostream import TELEMETRY_SWITCHES
from emostream.cli.app import app
from emostream.deployments.http_proxy import ENVIRONMENT
from tests.conftest import REPOSITORY
from tests.deploy.dockerfile import Dockerfile, read_dockerfile
from tests.deploy.image_rehearsal import build_script, can_rehearse, run_script
from tests.helm.chart import Helm, ray_pods
from tests.ports import unused_port

IMAGES = REPOSITORY / "deploy" / "images"
FLAVOURS = ("cpu", "gpu")
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def _read(flavour: str) -> Dockerfile:
    return read_dockerfile(IMAGES / f"{flavour}.Dockerfile")


@pytest.fixture(params=FLAVOURS)
def dockerfile(request: pytest.FixtureRequest) -> Dockerfile:
    """Each of them."""
    return _read(request.param)


@pytest.mark.integration
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_hadolint_finds_nothing(flavour: str) -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not packaged for this machine")
    result = subprocess.run(
        [hadolint, str(IMAGES / f"{flavour}.Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_both_have_the_same_python_to_the_patch() -> None:
    """Ray refuses nodes of another patch version."""
    bases = {stage.base for flavour in FLAVOURS for stage in _read(flavour).stages}
    assert len(bases) == 1
    image, _, tag = bases.pop().partition(":")
    version = tag.partition("-")[0].split(".")
    assert image == "python"
    assert len(version) == 3
    assert version[:2] == ["3", "11"]  # what deploy/constraints.txt was resolved for


def test_it_runs_without_root_and_has_a_health_check(dockerfile: Dockerfile) -> None:
    last = dockerfile.stages[-1]
    assert [item.text for item in last.all_of("USER")] == ["10001:10001"]
    (health,) = last.all_of("HEALTHCHECK")
    assert health.text.endswith('"http://127.0.0.1:8000/livez"]')
    assert {"interval", "timeout", "start-period", "retries"} <= health.flags.keys()
    labels = last.all_of("LABEL")[0].text
    assert f'org.opencontainers.image.version="{VERSION}"' in labels
    assert 'org.opencontainers.image.licenses="Apache-2.0"' in labels


def test_nothing_reports_home(dockerfile: Dockerfile) -> None:
    environment = dockerfile.stages[-1].environment()
    assert environment.items() >= TELEMETRY_SWITCHES.items()


def test_the_proxy_is_hardened_where_ray_starts(dockerfile: Dockerfile) -> None:
    name, value = ENVIRONMENT
    assert dockerfile.stages[-1].environment()[name] == value


def test_the_last_stage_holds_no_build_tools(dockerfile: Dockerfile) -> None:
    first, last = dockerfile.stages
    assert first.name == "build"
    assert all(item.flags.get("from") == "build" for item in last.all_of("COPY"))
    assert not any("pip" in item.text for item in last.all_of("RUN"))
    assert not [item for stage in dockerfile.stages for item in stage.all_of("ADD")]


def test_dependencies_are_the_pinned_ones_and_models_are_verified(dockerfile: Dockerfile) -> None:
    runs = [item.text for item in dockerfile.stages[0].all_of("RUN")]
    installing = [text for text in runs if "pip install" in text]
    assert installing
    assert all("--constraint deploy/constraints.txt" in text for text in installing)
    assert any("emostream models verify" in text for text in runs)


def test_the_entry_point_is_a_command_that_exists(dockerfile: Dockerfile) -> None:
    last = dockerfile.stages[-1]
    (entry,), (command,) = last.all_of("ENTRYPOINT"), last.all_of("CMD")
    assert entry.words() == ["emostream"]
    name, *options = command.words()
    known = typer.main.get_command(app).commands[name].params  # type: ignore[attr-defined]
    assert {word for word in options if word.startswith("--")} <= {opt for each in known for opt in each.opts}


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split("\n") if line[:1] != "#"]
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word for flavour in FLAVOURS for item in _read(flavour).stages[0].all_of("COPY") for word in item.words()[:-1]
    }
    assert allowed == copied
    assert rules[0] == "*"
    assert not any(fnmatch.fnmatch(".git", rule) for rule in allowed)


REHEARSED = {
    "cpu": ({}, '"onnxruntime": "available'),
    # TensorRT for data-centre GPUs comes from an index that is not reached here; the warm-up shows that RTX is there.
    "gpu": ({"TENSORRT": ""}, '"tensorrt_rtx": "'),
}

# Ray gives up on a node that does not start within 30 s, which a busy machine may not manage at once.
_SERVE = """
start() {{ emostream serve --port {port} > /tmp/serve.log 2>&1 & }}
start
for _ in $(seq 300); do
  wget --quiet --tries=1 --output-document=/tmp/ready http://127.0.0.1:{port}/readyz && break || sleep 1
  kill -0 $! 2>/dev/null || start
done
wget --quiet --tries=1 --output-document=- http://127.0.0.1:{port}/livez || {{ cat /tmp/serve.log; exit 1; }}
cat /tmp/ready
kill $!
wait $!
"""


@pytest.fixture(scope="module")
def rehearsals(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[str]]]:
    """What the steps of each image said; both at once, because most of their time one core works."""
    if reason := can_rehearse():
        pytest.skip(reason)
    with ThreadPoolExecutor(len(FLAVOURS)) as executor:
        yield {
            flavour: executor.submit(
                run_script,
                build_script(
                    _read(flavour),
                    arguments=REHEARSED[flavour][0],
                    checks=_checks(flavour, helm),
                    writable=["/tmp", "/var/cache/emostream"],
                ),
                folder=tmp_path_factory.mktemp(flavour),
                timeout_seconds=1400,
            )
            for flavour in FLAVOURS
        }


def _checks(flavour: str, helm: Helm) -> list[str]:
    documents = helm.render({"gpu": {"enabled": True, "use": "classifier"}})
    pod = ray_pods(documents)["streams" if flavour == "cpu" else "gpu"]
    warm_up = pod["spec"]["initContainers"][0]["command"][-1]  # compiles, which RTX engines do without a GPU
    checks = [
        "emostream --help > /dev/null",
        f"emostream doctor --json > /tmp/doctor && grep --fixed-strings --quiet '{REHEARSED[flavour][1]}' /tmp/doctor",
        f"export EMOSTREAM_MODELS__CACHE_DIR=/var/cache/emostream\n{warm_up}",
        "! touch /opt/emostream/x /opt/venv/x /x 2>/dev/null",
        "bash -lc 'ray --version && command -v wget emostream serve'",
    ]
    return [*checks, _SERVE.format(port=unused_port())] if flavour == "cpu" else checks


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_steps_work_and_the_result_runs_with_a_read_only_root(
    flavour: str, rehearsals: dict[str, Future[str]]
) -> None:
    """As user 10001, without rights, only `/tmp` and the volume of models writable: as the chart runs it."""
    said = rehearsals[flavour].result()
    assert said.count("-- CHECK ") == (6 if flavour == "cpu" else 5)
    assert "ray, version" in said
    assert flavour == "gpu" or '"ready":true' in said
