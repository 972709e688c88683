"""The load of GPUs; on a machine without one there is none, and nothing fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emostream.telemetry.gpu import gpu_loads
from emostream.telemetry.process import ProcessMetrics
from emostream.telemetry.values import MetricValues

_HAS_DRIVER = Path("/proc/driver/nvidia/version").exists()


@pytest.mark.skipif(_HAS_DRIVER, reason="there is an NVIDIA driver")
def test_without_a_driver_there_are_no_figures() -> None:
    metric_values = MetricValues()
    ProcessMetrics(metric_values).collect()
    assert gpu_loads() == []
    assert not [family for family in metric_values.families() if family.metric.name.startswith("emostream_gpu_")]


@pytest.mark.gpu
@pytest.mark.skipif(not _HAS_DRIVER and os.environ.get("EMOSTREAM_REQUIRE_GPU") != "1", reason="needs an NVIDIA GPU")
def test_a_gpu_says_how_full_and_busy_it_is() -> None:
    load = gpu_loads()[0]
    assert 0 < load.used_bytes <= load.total_bytes
    assert 0 <= load.utilization_ratio <= 1
