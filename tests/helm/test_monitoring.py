"""What reaches Prometheus and the receiver of traces: scrape rules, settings, environment, and the way there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from emostream.config import load_settings
from emostream.telemetry.metrics import METRICS
from tests.deploy.test_prometheus import TESTS as ALERT_TESTS
from tests.deploy.test_prometheus import run
from tests.helm.chart import NAMESPACE, Helm, environment_of, named, only, pods, ray_pods, serve_config
from tests.helm.test_rendering import MATRIX

pytestmark = pytest.mark.integration


def _relabelled(name: str, rules: list[dict[str, Any]]) -> str | None:
    """The name under which Prometheus keeps a metric; None when it does not."""
    for rule in rules:
        if rule.get("targetLabel") == "worker_id":
            continue
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


def test_the_process_has_one_name_with_and_without_ray(helm: Helm) -> None:
    for endpoint in _endpoints(helm):
        (rule,) = [each for each in endpoint["metricRelabelings"] if each.get("targetLabel") == "worker_id"]
        assert rule["sourceLabels"] == ["worker_id", "WorkerId"]
        for values, expected in ((";f00d", "f00d"), ("a;f00d", None), (";", None)):  # joined with `;`
            found = re.fullmatch(rule["regex"], values)
            assert (found and found.expand(rule["replacement"].replace("$1", r"\1"))) == expected


def test_those_of_ray_only_when_enabled(helm: Helm) -> None:
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


def test_metrics_of_redis_are_scraped_where_they_are_exported(helm: Helm) -> None:
    documents = helm.render(MATRIX["servers of all kinds"])
    monitor = only(documents, "PodMonitor")["spec"]
    (components,) = [item["values"] for item in monitor["selector"]["matchExpressions"]]
    redis = pods(documents)["StatefulSet demo-emostream-redis"]
    assert redis["metadata"]["labels"]["app.kubernetes.io/component"] in components
    (ports,) = [each["ports"] for each in redis["spec"]["containers"] if each["name"] == "exporter"]
    assert ports[0]["name"] in {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]}


def _rules(helm: Helm, **rules: Any) -> dict[str, Any]:
    documents = helm.render({"monitoring": {"rules": {"enabled": True, **rules}}})
    spec: dict[str, Any] = only(documents, "PrometheusRule")["spec"]
    return spec


def _alerts(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"]}


def test_alerts_are_changed_by_the_values(helm: Helm) -> None:
    before = _alerts(_rules(helm))
    changes = {
        "EmostreamCapacityLow": {"threshold": 0.75, "for": "30m", "severity": "critical"},
        "EmostreamConsumerLagGrows": {"threshold": 5000},
        "EmostreamRedisRetries": {"threshold": 0},
        "EmostreamMemoryGrows": {"enabled": False},
    }
    after = _alerts(_rules(helm, alerts=changes))
    assert before.keys() - after.keys() == {"EmostreamMemoryGrows"}
    capacity = after["EmostreamCapacityLow"]
    assert (capacity["for"], capacity["labels"]["severity"]) == ("30m", "critical")
    assert capacity["expr"] == before["EmostreamCapacityLow"]["expr"].rstrip().removesuffix("0.9") + "0.75"
    assert after["EmostreamConsumerLagGrows"]["expr"].endswith(") > 5000")
    assert after["EmostreamRedisRetries"]["expr"].endswith(" > 0")
    assert after["EmostreamAbsent"] == before["EmostreamAbsent"]


def test_alerts_of_a_release_fire_for_its_series_and_for_no_others(helm: Helm, promtool: str, tmp_path: Path) -> None:
    """The shipped tests of the alerts hold for the rules of a release, with other releases around it."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(_rules(helm)), encoding="utf-8")
    ours = {"namespace": NAMESPACE, "job": f"{NAMESPACE}/demo-emostream"}
    text = ALERT_TESTS.read_text(encoding="utf-8").replace(', namespace="x"', "").replace('namespace="y"', 'other="y"')
    tests = yaml.safe_load(text) | {"rule_files": [str(tmp_path / "rules.yaml")]}
    for test in tests["tests"]:
        for item in test["input_series"]:
            labels = "" if 'other="y"' in item["series"] else f'namespace="{ours["namespace"]}", job="{ours["job"]}"'
            item["series"] = item["series"].replace('job="e"', labels or 'namespace="others", job="others/emostream"')
        for case in test["alert_rule_test"]:
            for alert in case.get("exp_alerts", []):
                alert["exp_labels"] |= ours
        test["input_series"] += [
            {
                "series": 'emostream_build_info{namespace="others", job="others/emostream", version="0.0.1"}',
                "values": "1x800",
            },
            {"series": 'emostream_events_lost_total{namespace="others", job="others/emostream"}', "values": "0+9x800"},
        ]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    assert "SUCCESS" in run(promtool, "test", "rules", tmp_path / "tests.yaml")


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
