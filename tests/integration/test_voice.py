"""`emostream analyze --voice`: what it adds, and what it says where there is no sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.audio.speech import spoken_words
from tests.integration.command_line import run_emostream
from tests.media import make_audio, make_clip, make_talking_clip

pytestmark = pytest.mark.integration


def lines_of(text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Emotion events, and the others."""
    events = [json.loads(line) for line in text.splitlines()]
    return [event for event in events if "faces" in event], [event for event in events if "faces" not in event]


def test_voice_is_off_by_default(tmp_path: Path) -> None:
    path = make_talking_clip(tmp_path / "talk.mp4", spoken_words(seconds=2), seconds=2)
    without, with_voice = run_emostream("analyze", path, "--json"), run_emostream("analyze", path, "--json", "--voice")
    assert (without.code, with_voice.code) == (0, 0), with_voice.err
    faces, others = lines_of(without.out)
    assert (len(faces), others) == (20, [])
    same, voices = lines_of(with_voice.out)
    for event in (*faces, *same):
        del event["epoch"], event["captured_at"], event["latency_ms"]
    assert same == faces
    assert [(event["stream_id"], event["window_index"]) for event in voices] == [("talk", 0), ("talk", 1), ("talk", 2)]
    assert voices[-1]["speech_share"] > 0.5


def test_without_sound_the_pictures_are_analysed_and_it_is_said(tmp_path: Path) -> None:
    outcome = run_emostream("analyze", make_clip(tmp_path / "a.mp4"), "--json", "--voice")
    assert outcome.code == 0
    assert len(lines_of(outcome.out)[0]) == 10
    assert "there is no sound" in outcome.err


def test_sound_alone_is_refused_as_without_voice(tmp_path: Path) -> None:
    path = make_audio(tmp_path / "a.m4a")
    with_voice, without = run_emostream("analyze", path, "--voice"), run_emostream("analyze", path)
    assert with_voice.code == without.code != 0
    assert with_voice.err == without.err


def test_the_setting_stands_in_a_file(tmp_path: Path) -> None:
    path = make_talking_clip(tmp_path / "a.mp4", np.zeros(32_000, np.float32), seconds=2)
    settings = tmp_path / "settings.yaml"
    settings.write_text("voice: true\n", encoding="utf-8")
    outcome = run_emostream("analyze", path, "--json", "--config", settings)
    assert [event["quality"] for event in lines_of(outcome.out)[1]] == [["silent"]] * 3


def test_reports_and_tables_hold_the_voice(tmp_path: Path) -> None:
    path = make_talking_clip(tmp_path / "talk.mp4", spoken_words(seconds=2), seconds=2)
    outputs = ("--report", tmp_path / "a.html", "--output", tmp_path / "b.csv")
    outcome = run_emostream("analyze", path, "--voice", *outputs)
    assert outcome.code == 0, outcome.err
    assert "Speech over time" in (tmp_path / "a.html").read_text(encoding="utf-8")
    for name in ("a-voice.csv", "b-voice.csv"):
        assert len((tmp_path / name).read_text(encoding="utf-8").splitlines()) == 4
