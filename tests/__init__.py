"""The tests. Nothing that they import or start reports home."""

from emostream.no_telemetry import switch_off_telemetry

switch_off_telemetry()
