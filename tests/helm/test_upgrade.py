"""An upgrade keeps the passwords and tokens that an earlier run made."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, NAMESPACE, RELEASE, Document, Helm, named, only
from tests.helm.kubernetes_api import kubernetes_api

pytestmark = pytest.mark.integration


def _as_stored(secret: Document) -> dict[str, Any]:
    """A secret as the cluster keeps it: all text in base64."""
    data = dict(secret.get("data", {}))
    data |= {key: base64.b64encode(text.encode()).decode() for key, text in secret.get("stringData", {}).items()}
    ours = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE}
    metadata = secret["metadata"] | {"namespace": NAMESPACE, "annotations": ours}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def _render_with_cluster(helm: Helm, secrets: dict[str, Document], folder: Path, *settings: str) -> list[Document]:
    """The chart as `helm upgrade` would render it on a cluster that holds these secrets."""
    stored = {name: _as_stored(secret) for name, secret in secrets.items()}
    with kubernetes_api(stored, namespace=NAMESPACE) as url:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
            "current-context": "c",
        }
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [
            "template",
            RELEASE,
            str(CHART),
            "--namespace",
            NAMESPACE,
            "--dry-run=server",
            "--disable-openapi-validation",
            *settings,
        ]
        text = helm.run(*command, environment={"KUBECONFIG": str(kubeconfig)})
    return [document for document in yaml.safe_load_all(text) if document]


def test_what_is_there_is_kept(helm: Helm, tmp_path: Path) -> None:
    first = helm.render()
    secrets = named(first, "Secret")
    second = _render_with_cluster(helm, secrets, tmp_path)
    for name, secret in named(second, "Secret").items():
        assert _as_stored(secret) == _as_stored(secrets[name]), name
    assert only(second, "RayService") == only(first, "RayService")  # the hash of the token is in it


def test_what_is_missing_is_made(helm: Helm, tmp_path: Path) -> None:
    first = named(helm.render(), "Secret")
    second = named(_render_with_cluster(helm, {}, tmp_path), "Secret")
    assert second["demo-emostream-redis"] != first["demo-emostream-redis"]
    assert second["demo-emostream-api"] != first["demo-emostream-api"]


def test_a_consumer_that_comes_later_gets_a_password_and_the_first_keeps_its_own(helm: Helm, tmp_path: Path) -> None:
    before = named(helm.render({"redis": {"consumerUser": False}}), "Secret")
    after = named(_render_with_cluster(helm, before, tmp_path), "Secret")["demo-emostream-redis"]["stringData"]
    assert after["password"] == before["demo-emostream-redis"]["stringData"]["password"]
    assert after["consumer-password"]


def test_without_a_cluster_two_renders_are_the_same_where_no_secret_is_made(helm: Helm) -> None:
    values = {
        "auth": {"generate": False, "tokens": [{"name": "a", "sha256": "0" * 64, "scopes": ["write"]}]},
        "redis": {"existingSecret": "redis"},
        "gcsFaultTolerance": {"ownServer": {"enabled": True}, "passwordSecret": "gcs"},
    }
    first = helm.render(values)
    assert first == helm.render(values)
    assert not named(first, "Secret")
