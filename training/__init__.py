"""From labelled pictures to the model that ships. Imports of this package are sure that nothing reports home."""

from emostream.no_telemetry import switch_off_telemetry

switch_off_telemetry()
