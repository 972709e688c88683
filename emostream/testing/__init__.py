"""Fakes and conformance checks for tests of plugins and of programs that use emostream."""

from emostream.testing.detector_contract import check_detector
from emostream.testing.engine_contract import check_engine
from emostream.testing.fakes import (
    CollectingSink,
    ConstantClassifier,
    FakeClock,
    ScriptedDetector,
    ScriptedSource,
    face_at,
    gray_frames,
)
from emostream.testing.sink_contract import check_sink, check_sink_absence, check_sink_repeats, contract_events

__all__ = [
    "CollectingSink",
    "ConstantClassifier",
    "FakeClock",
    "ScriptedDetector",
    "ScriptedSource",
    "check_detector",
    "check_engine",
    "check_sink",
    "check_sink_absence",
    "check_sink_repeats",
    "contract_events",
    "face_at",
    "gray_frames",
]
