"""On a Ray cluster all of the application can be seen: what only the interface knows, the shared classifier, traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("ray")
pytest.importorskip("opentelemetry.sdk")
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_whole_application_is_seen_through_ray(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.deployments.monitored_service", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        cwd=REPOSITORY,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    found = json.loads(outcome.stdout.splitlines()[-1])
    samples = {(name, labels["deployment"], labels.get("state", "")): value for name, labels, value in found["samples"]}
    assert samples["ray_emostream_streams", "Ingress", "failed"] == 1
    assert samples["ray_emostream_streams", "Ingress", "ended"] == 1
    assert samples["ray_emostream_classify_batch_size_count", "EmotionClassification", ""] > 0
    assert samples["ray_emostream_model_info", "EmotionClassification", ""] == 1
    deployments = {deployment for name, deployment, _ in samples if name == "ray_emostream_build_info"}
    assert deployments == {"Ingress", "StreamWorkers", "EmotionClassification"}
    assert {"frame", "decode", "detect", "follow", "classify", "wait", "inference", "publish"} == set(found["spans"])
