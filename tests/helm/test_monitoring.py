"""What reaches Prometheus and the receiver of traces: scrape rules, settings, environment, and the way there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from emostream.config import load_settings
from emostream.telemetry.metrics import METRICS
from tests.helm.chart import Helm, environment_of, named, only, ray_pods, serve_config
from tests.helm.test_rendering import MATRIX

pytestmark = pytest.mark.integration


def _relabelled(name: str, rules: list[dict[str, Any]]) -> str | None:
    """The name under which Prometheus keeps a metric; None when it does not."""
    for rule in rules:
        assert rule["sourceLabels"] == ["__name__"]
        found = re.fullmatch(rule["regex"], name)
        if rule["action"] == "keep" and not found:
            return None
        if rule["action"] == "replace" and found:
            name = found.expand(rule["replacement"].replace("$1", r"\1"))
    return name


def _endpoints(helm: Helm, **monitor: Any) -> list[dict[str, Any]]:
    documents = helm.render({"monitoring": {"podMonitor": {"enabled": True, **monitor}}})
    endpoints: list[dict[str, Any]] = only(documents, "PodMonitor")["spec"]["podMetricsEndpoints"]
    return endpoints


def test_all_of_our_metrics_arrive_under_their_names(helm: Helm) -> None:
    for endpoint in _endpoints(helm):
        rules = endpoint["metricRelabelings"]
        for name in METRICS:
            assert _relabelled(f"ray_{name}", rules) == name
        assert _relabelled("ray_serve_num_http_requests_total", rules) == "ray_serve_num_http_requests_total"
        assert _relabelled("ray_node_cpu_utilization", rules) is None


def test_those_of_ray_only_when_asked_for(helm: Helm) -> None:
    for endpoint in _endpoints(helm, keepRayMetrics=True):
        assert _relabelled("ray_node_cpu_utilization", endpoint["metricRelabelings"]) == "ray_node_cpu_utilization"


def test_every_pod_that_runs_a_part_of_the_application_is_scraped(helm: Helm) -> None:
    documents = helm.render(MATRIX["monitoring"] | MATRIX["gpu"])
    monitor = only(documents, "PodMonitor")["spec"]
    ports = {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]}
    (components,) = [item["values"] for item in monitor["selector"]["matchExpressions"]]
    for pod in ray_pods(documents).values():
        assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] in components
        named_ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        assert "metrics" in ports & named_ports.keys()


def test_traces_are_off_by_default(helm: Helm) -> None:
    documents = helm.render()
    assert "tracing" not in serve_config(documents)["applications"][0]["args"]["settings"]
    for pod in ray_pods(documents).values():
        assert "OTEL_EXPORTER_OTLP_HEADERS" not in environment_of(pod["spec"]["containers"][0])


def test_traces_go_where_the_values_say(helm: Helm) -> None:
    documents = helm.render(MATRIX["tracing"])
    settings = load_settings(**serve_config(documents)["applications"][0]["args"]["settings"])
    assert (settings.tracing.ratio, settings.tracing.endpoint) == (0.001, "http://otel-collector.observability:4318")
    headers = environment_of(ray_pods(documents)["streams"]["spec"]["containers"][0])["OTEL_EXPORTER_OTLP_HEADERS"]
    assert headers == {"secretKeyRef": {"name": "otel", "key": "headers"}}
    (rule,) = named(documents, "NetworkPolicy")["demo-emostream-traces"]["spec"]["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 4318}]
    assert rule["to"] == MATRIX["tracing"]["tracing"]["to"]
