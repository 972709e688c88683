"""Nothing reports home: the switches of every dependency that would tell its makers about this machine.

A package sets them when it is imported, before it imports anything that reads them: ONNX Runtime ≥ 1.29 makes a device
id and a database in the cache folder as soon as it is imported, and sends what it collects some seconds later. Child
processes inherit them. Images and the chart set the same ones for programs that are not ours, such as Ray's own
processes (a test compares).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TELEMETRY_SWITCHES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: machine, models and sessions, to Microsoft
        "RAY_USAGE_STATS_ENABLED": "0",  # Ray: cluster and libraries in use, to Anyscale
    }
)
"""Variable of the environment → the value that switches reporting off."""


def switch_off_telemetry() -> None:
    """Set every switch for this process and its children, whatever was set before: the promise has no exception."""
    os.environ.update(TELEMETRY_SWITCHES)
