"""Every pod runs with as few rights as it can."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.chart import Helm, containers, pods, ray_pods
from tests.helm.test_rendering import MATRIX

pytestmark = pytest.mark.integration

EVERYTHING = MATRIX["streams"] | MATRIX["gpu"] | MATRIX["servers of all kinds"]


@pytest.fixture(scope="module")
def templates(helm: Helm) -> dict[str, dict[str, Any]]:
    """All pods there can be."""
    found = pods(helm.render(EVERYTHING))
    assert len(found) == 8
    return found


def test_pods_are_not_root_and_confined(templates: dict[str, dict[str, Any]]) -> None:
    for name, template in templates.items():
        context = template["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name


def test_the_cluster_may_choose_the_users(helm: Helm) -> None:
    for name, template in pods(helm.render(MATRIX["openshift"])).items():
        context = template["spec"]["securityContext"]
        assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}, name


def test_containers_have_no_rights_and_a_read_only_root(templates: dict[str, dict[str, Any]]) -> None:
    for template in templates.values():
        for container in containers(template):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_only_the_head_may_speak_to_kubernetes(templates: dict[str, dict[str, Any]]) -> None:
    for name, template in templates.items():
        assert template["spec"]["automountServiceAccountToken"] is (name == "head"), name


def test_the_head_may_not_either_without_autoscaler(helm: Helm) -> None:
    assert ray_pods(helm.render(MATRIX["no autoscaling"]))["head"]["spec"]["automountServiceAccountToken"] is False


def test_every_container_says_what_it_needs(templates: dict[str, dict[str, Any]]) -> None:
    for name, template in templates.items():
        for container in containers(template):
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


def test_mounted_volumes_exist_and_are_used(templates: dict[str, dict[str, Any]]) -> None:
    for name, template in templates.items():
        mounted = {mount["name"] for container in containers(template) for mount in container.get("volumeMounts", [])}
        there = {volume["name"] for volume in template["spec"].get("volumes", [])}
        claimed = {"data"} if name.startswith("StatefulSet") else set()
        assert mounted == there | claimed, name


def test_everything_that_is_written_lies_on_a_volume(templates: dict[str, dict[str, Any]]) -> None:
    for name in ("head", "streams", "gpu"):
        for container in containers(templates[name]):
            paths = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
            assert "/tmp" in paths, name
            assert name == "head" or "/var/cache/emostream" in paths, name


def test_no_host_path_by_default(helm: Helm) -> None:
    for template in pods(helm.render(MATRIX["gpu without warm-up"] | {"streams": EVERYTHING["streams"]})).values():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & template["spec"].keys()
        assert not any("hostPath" in volume for volume in template["spec"].get("volumes", []))


def test_images_are_never_the_latest(templates: dict[str, dict[str, Any]]) -> None:
    for template in templates.values():
        for container in containers(template):
            _, _, tag = container["image"].rpartition(":")
            assert tag and tag != "latest"
