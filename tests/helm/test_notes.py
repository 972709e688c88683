"""What Helm prints after an installation helps with the next step."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.helm.chart import CHART, NAMESPACE, RELEASE, Helm
from tests.helm.test_rendering import MATRIX

pytestmark = pytest.mark.integration


def _notes(helm: Helm, values: dict[str, Any] | None = None) -> str:
    command = ["install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", "--values", "-"]
    _, _, notes = helm.run(*command, stdin=json.dumps(values or {})).partition("NOTES:\n")
    assert notes
    return notes


def test_defaults(helm: Helm) -> None:
    notes = _notes(helm)
    for expected in (
        "kubectl --namespace watch get rayservice demo-emostream --watch",
        "kubectl --namespace watch port-forward service/demo-emostream-serve-svc 8000:8000",
        "Open the console in a browser",
        "get secret demo-emostream-api --output jsonpath='{.data.token}'",
        "get secret demo-emostream-redis --output jsonpath='{.data.consumer-password}'",
        "No camera can be reached yet: set sources.networks",
        "set monitoring.podMonitor.enabled",
        "EU AI Act",
    ):
        assert expected in notes
    assert "is false" not in notes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ingress", "https://emostream.example/"),
        ("gateway", "https://emostream.example/"),
        ("tokens by hash", "auth.tokens: ops."),
        ("streams", "the job demo-emostream-streams adds the 4 streams"),
        ("external redis in a secret", "Events are in your Redis (secret redis-url)."),
        ("open, public sources, no policy", "auth.enabled is false"),
        ("open, public sources, no policy", "networkPolicy.enabled is false"),
        ("own redis, own secret, no volume", "redis.persistence.enabled is false"),
        ("external redis in a secret", "gcsFaultTolerance.enabled is false"),
        ("gpu", "compiling the engine"),
        ("gpu", "gpu.required=true"),
        ("load balancer", "get service demo-emostream-serve-svc"),
        ("load balancer", "Tokens are sent in clear to the service of type LoadBalancer"),
        ("tokens in a secret", "The tokens are those of the secret tokens."),
        ("tracing", "0.001 of all frames are sent to http://otel-collector.observability:4318"),
    ],
)
def test_they_follow_the_values(helm: Helm, name: str, expected: str) -> None:
    assert expected in _notes(helm, MATRIX[name])


def test_secrets_are_not_printed(helm: Helm) -> None:
    assert "p%40ss" not in _notes(helm, MATRIX["streams"])
