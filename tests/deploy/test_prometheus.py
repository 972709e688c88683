"""Shipped rules and scrape configurations, read by the real Prometheus tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY

RULES = REPOSITORY / "deploy" / "prometheus" / "alerts.yaml"
TESTS = REPOSITORY / "tests" / "deploy" / "alerts_test.yaml"
CONFIGS = sorted((REPOSITORY / "deploy").glob("*/prometheus.yaml"))

ALERTS = [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("needs promtool (tests/install-debian-packages.sh)")
    return found


def run(*command: str | Path) -> str:
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


@pytest.mark.integration
def test_alerts_fire_when_they_should(promtool: str) -> None:
    assert f"{len(ALERTS)} rules found" in run(promtool, "check", "rules", RULES)
    assert "SUCCESS" in run(promtool, "test", "rules", TESTS)


@pytest.mark.integration
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parent.name)
def test_scrape_configurations_are_valid(promtool: str, config: Path) -> None:
    run(promtool, "check", "config", "--syntax-only", config)


def test_every_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    names = {alert["alert"] for alert in ALERTS}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_leads_to_its_paragraph(alert: dict[str, object]) -> None:
    annotations = alert["annotations"]
    assert isinstance(annotations, dict) and annotations["summary"]
    page, _, anchor = annotations["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (REPOSITORY / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert anchor == str(alert["alert"]).lower()
    assert alert["alert"] in headings


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parent.name)
def test_rays_prefix_is_stripped(config: Path) -> None:
    jobs = yaml.safe_load(config.read_text(encoding="utf-8"))["scrape_configs"]
    rules = [rule for job in jobs for rule in job.get("metric_relabel_configs", []) if "replacement" in rule]
    found = {(rule["regex"], rule["target_label"], rule["replacement"]) for rule in rules}
    assert ("ray_(emostream_.+)", "__name__", "$1") in found
    if "emostream-ray" in {job["job_name"] for job in jobs}:
        assert (";(.+)", "worker_id", "$1") in found  # Ray's name of a process, as the chart's PodMonitor has it
