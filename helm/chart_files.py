"""Keeps the made files of the chart in step: README.md from values.yaml, dashboards and alerts from `deploy/`.

    python -m helm.chart_files            (`make chart`; a test says when it is needed)

Helm packages only what lies inside the chart, so the files of `deploy/grafana` and `deploy/prometheus`, which Compose
uses as well, are copied into it.
"""

from __future__ import annotations

from pathlib import Path

from helm.values_table import values_table

REPOSITORY = Path(__file__).parent.parent
CHART = REPOSITORY / "helm" / "emostream"

_TABLE_MARK = "<!-- values -->\n"


def wanted_files(repository: Path = REPOSITORY) -> dict[Path, str]:
    """Path inside the chart → what it should hold."""
    chart = repository / "helm" / "emostream"
    readme = (chart / "README.md").read_text(encoding="utf-8")
    before, mark, _ = readme.partition(_TABLE_MARK)
    if not mark:
        raise ValueError(f"{chart / 'README.md'} has no line {_TABLE_MARK.strip()!r}, after which the table goes")
    table = values_table((chart / "values.yaml").read_text(encoding="utf-8"))
    wanted = {Path("README.md"): f"{before}{mark}\n{table}"}
    for source in sorted((repository / "deploy" / "grafana").glob("*.json")):
        wanted[Path("files/dashboards") / source.name] = source.read_text(encoding="utf-8")
    alerts = repository / "deploy" / "prometheus" / "alerts.yaml"
    if alerts.exists():
        wanted[Path("files/rules/alerts.yaml")] = alerts.read_text(encoding="utf-8")
    return wanted


def outdated_files(repository: Path = REPOSITORY) -> list[Path]:
    """Paths inside the chart that are missing, differ, or have nothing that they are made from."""
    chart = repository / "helm" / "emostream"
    wanted = wanted_files(repository)
    there = {path.relative_to(chart) for path in (chart / "files").rglob("*") if path.is_file()}
    differing = {
        path
        for path, content in wanted.items()
        if not (chart / path).exists() or (chart / path).read_text(encoding="utf-8") != content
    }
    return sorted(differing | (there - wanted.keys()))


def write_files(repository: Path = REPOSITORY) -> list[Path]:
    """Bring the chart in step; returns what was written or removed."""
    chart = repository / "helm" / "emostream"
    wanted = wanted_files(repository)
    outdated = outdated_files(repository)
    for path in outdated:
        target = chart / path
        if path in wanted:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(wanted[path], encoding="utf-8")
        else:
            target.unlink()
    return outdated


if __name__ == "__main__":
    for changed in write_files():
        print(f"helm/emostream/{changed}")
