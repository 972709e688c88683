"""Files of the chart that are made from others, and what becomes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.chart_files import outdated_files, wanted_files, write_files
from helm.values_table import Value, described_values, undescribed_values, values_table
from tests.conftest import REPOSITORY
from tests.helm.chart import CHART, Helm, RenderError, named, only
from tests.helm.validation import problems_of

VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")
ALERTS = {
    "groups": [
        {
            "name": "emostream",
            "rules": [
                {
                    "alert": "Late",
                    "expr": "emostream_event_latency_seconds > 1",
                    "for": "5m",
                    "labels": {"severity": "warning"},
                    "annotations": {"summary": "{{ $labels.stream_id }} is {{ $value }} s late"},
                }
            ],
        }
    ]
}


def test_the_made_files_are_in_step() -> None:
    assert not outdated_files(), "run `make chart`"


def test_every_value_is_described() -> None:
    assert not undescribed_values(VALUES)


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    for value in described_values(VALUES):
        node = schema
        for name in value.path.split("."):
            node = node["properties"][name]


def test_every_value_is_used_by_a_template() -> None:
    templates = "\n".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").rglob("*.*"))
    for value in described_values(VALUES):
        name = value.path.rpartition(".")[2]
        assert f".{name}" in templates or f'"{name}"' in templates, value.path


def test_a_table_is_made_of_comments() -> None:
    text = "# -- Text | here.\na: x\nb:\n  # -- Number,\n  # two lines.\n  c: 3\n  # -- List.\n  d:\n    - {e: 1}\n"
    assert described_values(text) == [
        Value("a", '`"x"`', "Text | here."),
        Value("b.c", "`3`", "Number, two lines."),
        Value("b.d", '`[{"e": 1}]`', "List."),
    ]
    assert '| `a` | `"x"` | Text \\| here. |' in values_table(text)
    assert undescribed_values("a: 1\nb: {c: 2}\n# -- All of it.\nd: {e: 3}\n") == ["a", "b.c"]


@pytest.mark.parametrize("text", ["# -- One.\n# -- Two.\na: 1\n", "a: 1\n# -- Nothing below.\n"])
def test_a_comment_that_describes_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        described_values(text)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the chart beside one dashboard and one file of alerts."""
    shutil.copytree(CHART, tmp_path / "helm" / "emostream", ignore=shutil.ignore_patterns("files"))
    (tmp_path / "deploy" / "grafana").mkdir(parents=True)
    (tmp_path / "deploy" / "prometheus").mkdir()
    (tmp_path / "deploy" / "grafana" / "one_stream.json").write_text('{"title": "One {{ stream }}"}', encoding="utf-8")
    (tmp_path / "deploy" / "prometheus" / "alerts.yaml").write_text(yaml.safe_dump(ALERTS), encoding="utf-8")
    return tmp_path


def test_dashboards_and_alerts_are_copied_into_the_chart_and_removed_with_their_source(repository: Path) -> None:
    made = [Path("files/dashboards/one_stream.json"), Path("files/rules/alerts.yaml")]
    assert outdated_files(repository) == made
    assert write_files(repository) == made
    assert not outdated_files(repository)
    (repository / "deploy" / "grafana" / "one_stream.json").unlink()
    assert write_files(repository) == made[:1]
    assert not (repository / "helm" / "emostream" / made[0]).exists()


def test_a_readme_without_a_place_for_the_table_is_an_error(repository: Path) -> None:
    (repository / "helm" / "emostream" / "README.md").write_text("# emostream\n", encoding="utf-8")
    with pytest.raises(ValueError):
        wanted_files(repository)


@pytest.mark.integration
def test_dashboards_become_config_maps_and_alerts_a_rule(helm: Helm, repository: Path) -> None:
    write_files(repository)
    chart = repository / "helm" / "emostream"
    on: dict[str, Any] = {
        "monitoring": {
            "rules": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboards": {"enabled": True, "annotations": {"grafana_folder": "video"}},
        }
    }
    documents = helm.render(on, chart=chart)
    assert not [problem for document in documents for problem in problems_of(document)]
    dashboard = named(documents, "ConfigMap")["demo-emostream-dashboard-one-stream"]
    assert json.loads(dashboard["data"]["one_stream.json"]) == {"title": "One {{ stream }}"}
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["metadata"]["annotations"] == {"grafana_folder": "video"}
    rule = only(documents, "PrometheusRule")
    ours = 'namespace="watch",job="watch/demo-emostream"'
    assert rule["spec"]["groups"][0]["rules"][0]["expr"] == f"emostream_event_latency_seconds{{{ours}}} > 1"
    on["monitoring"]["rules"]["ofThisRelease"] = False
    assert only(helm.render(on, chart=chart), "PrometheusRule")["spec"] == ALERTS
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    kinds = {document["kind"] for document in helm.render(chart=chart)}
    assert "PrometheusRule" not in kinds
    assert len(named(helm.render(chart=chart), "ConfigMap")) == 1  # that of Redis


@pytest.mark.integration
def test_alerts_that_are_enabled_but_missing_are_an_error(helm: Helm, repository: Path) -> None:
    with pytest.raises(RenderError, match="files/rules/alerts"):
        helm.render({"monitoring": {"rules": {"enabled": True}}}, chart=repository / "helm" / "emostream")


def test_the_versions_of_chart_and_package_agree() -> None:
    import tomllib

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["appVersion"] == project["version"]
