"""What Ray makes of our figures: the same names under its prefix, which the shipped scrape configurations strip."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import REPOSITORY

pytest.importorskip("ray")
pytestmark = [pytest.mark.integration, pytest.mark.slow]

# A process of its own: Ray would stay in this one.
_PROGRAM = """
import sys, time, urllib.request
import ray
from emostream.deployments.ray_metrics import RayRecorder
from emostream.telemetry.values import MetricValues
from emostream.telemetry.metrics import BATCH_SIZE, DECODED_FRAMES, LOST_EVENTS, VISIBLE_FACES
from tests.media import wait_until
from tests.ports import unused_port

port = unused_port()
for attempts_left in (3, 2, 1, 0):
    try:
        ray.init(
            include_dashboard=False, num_cpus=1, _metrics_export_port=port, log_to_driver=False, logging_level="error"
        )
        break
    except Exception:  # Ray gives a busy machine 30 seconds to start
        ray.shutdown()
        if not attempts_left:
            raise
metric_values, recorder = MetricValues(), RayRecorder()
metric_values.replace(VISIBLE_FACES, [({"stream_id": "gone"}, 9)])
metric_values.add(LOST_EVENTS, 0, reason="spool_full")
recorder(metric_values.families())
for step in (1, 2):
    metric_values.add(DECODED_FRAMES, 5, stream_id="door")
    metric_values.replace(VISIBLE_FACES, [({"stream_id": "door"}, step)])
    for size in (1, 3, 200):
        metric_values.observe(BATCH_SIZE, size)
    recorder(metric_values.families())

def scraped():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            return response.read().decode()
    except OSError:
        return ""

wait_until(lambda: "emostream_classify_batch_size_bucket" in scraped(), timeout_seconds=60)
print("\\n".join(line for line in scraped().splitlines() if "emostream_" in line))
"""


def stripped(name: str) -> str:
    """As `deploy/prometheus/prometheus.yaml` rewrites it."""
    config = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "emostream-ray"]
    (rule,) = [rule for rule in job["metric_relabel_configs"] if rule.get("target_label") == "__name__"]
    return re.sub(f"^(?:{rule['regex']})$", rule["replacement"].replace("$1", r"\1"), name)


def test_ray_exports_the_same_figures_under_its_prefix() -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        cwd=REPOSITORY,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    values = {}
    names = set()
    for family in text_string_to_metric_families(outcome.stdout + "\n"):
        for sample in family.samples:
            key = sample.labels.get("stream_id") or sample.labels.get("le") or sample.labels.get("reason", "")
            values[sample.name, key] = sample.value
            names.add(stripped(sample.name))
    assert names >= {"emostream_decode_frames_total", "emostream_classify_batch_size_bucket"}
    assert values["ray_emostream_decode_frames_total", "door"] == 10
    assert 0 <= values["ray_emostream_events_lost_total", "spool_full"] < 1e-9, "it exists before the first loss"
    assert values["ray_emostream_track_visible_faces", "door"] == 2
    assert values["ray_emostream_track_visible_faces", "gone"] == 0
    assert values["ray_emostream_classify_batch_size_bucket", "4.0"] == 4
    assert values["ray_emostream_classify_batch_size_count", ""] == 6
