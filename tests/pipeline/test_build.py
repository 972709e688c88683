"""What a stream says about the faces that are too small in frames of its size."""

from __future__ import annotations

from emostream.config import load_settings
from emostream.pipeline.build import unsearched_notice
from emostream.testing.fakes import ScriptedDetector
from tests.vision.detect.bright_detector import MAX_INPUT_PIXELS, SMALLEST_PIXELS, BrightDetector


def test_only_what_is_wanted_and_not_found_is_said() -> None:
    settings = load_settings(detect={"min_face_pixels": 32})
    side = round(MAX_INPUT_PIXELS**0.5 * 32 / SMALLEST_PIXELS)
    assert unsearched_notice(settings, BrightDetector(), side, side) == ""
    assert "64" in unsearched_notice(settings, BrightDetector(), 2 * side, 2 * side)
    wanting_less = load_settings(detect={"min_face_pixels": 64})
    assert unsearched_notice(wanting_less, BrightDetector(), 2 * side, 2 * side) == ""


def test_a_plugin_need_not_know() -> None:
    assert unsearched_notice(load_settings(), ScriptedDetector([[]]), 8000, 6000) == ""
