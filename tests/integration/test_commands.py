"""demo, doctor, models and bench as child processes."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from emostream.demo_clip import make_demo_clip
from tests.integration.command_line import run_emostream

pytestmark = pytest.mark.integration


def test_demo_reads_its_events_back_and_leaves_a_video(tmp_path: Path) -> None:
    outcome = run_emostream("demo", "--max-frames", "30", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert "30 events with 60 faces at emostream:events:clip" in outcome.out
    with av.open(str(tmp_path / "demo-output" / "clip-annotated.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30

    again = run_emostream("demo", "--max-frames", "10", cwd=tmp_path)
    assert again.code == 0, again.err
    assert "10 events with 20 faces" in again.out, "events of the first demo in the same folder are not counted again"


def test_demo_takes_an_own_video_and_refuses_a_missing_one(tmp_path: Path) -> None:
    make_demo_clip(tmp_path / "mine.mp4", num_frames=12)
    own = run_emostream("demo", "--source", "mine.mp4", cwd=tmp_path)
    assert own.code == 0, own.err
    assert "12 events" in own.out
    missing = run_emostream("demo", "--source", "other.mp4", cwd=tmp_path)
    assert (missing.code, "no such file" in missing.err) == (3, True)


def test_doctor_shows_settings_with_secrets_masked() -> None:
    url = "redis://admin:hunter2@localhost:6379"
    environment = {"EMOSTREAM_PUBLISH__REDIS_URL": url, "EMOSTREAM_DETECT__MIN_SCORE": "0.4"}
    outcome = run_emostream("doctor", "--json", environment=environment)
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert "hunter2" not in outcome.out
    assert report["settings"]["detect"]["min_score"] == 0.4
    assert report["engines"]["onnxruntime"].startswith("available")
    assert all(model["usable"] for model in report["models"])
    assert run_emostream("doctor").code == 0


def test_models_are_listed_verified_and_found_damaged(tmp_path: Path) -> None:
    listed = json.loads(run_emostream("models", "list", "--json").out)
    assert {entry["name"] for entry in listed} == {"centerface", "centerface-int8", "emotions"}
    assert run_emostream("models", "verify", "emotions").code == 0

    store = {"EMOSTREAM_MODELS__CACHE_DIR": str(tmp_path), "EMOSTREAM_MODELS__OFFLINE": "true"}
    assert run_emostream("models", "verify", environment=store).code == 5
    pull = run_emostream("models", "pull", "centerface", environment=store)
    assert pull.code == 5
    assert "--from" in pull.err, "the message says what to do without network"
    assert run_emostream("models", "pull", "nothing", environment=store).code == 2


def test_bench_prints_the_pipeline_beside_decoding_alone(tmp_path: Path) -> None:
    make_demo_clip(tmp_path / "clip.mp4", num_frames=20)
    outcome = run_emostream("bench", "pipeline", tmp_path / "clip.mp4", "--runs", "1", "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["num_frames"] == 20
    assert result["faces_per_frame"] == 2
    assert (
        0 < result["ratio"] == pytest.approx(result["frames_per_second"] / result["decode_frames_per_second"], rel=0.01)
    )
    assert {"decode", "detect", "classify"} <= set(result["stage_ms_per_frame"])
    assert run_emostream("bench", "pipeline", tmp_path / "clip.mp4", "--runs", "1").code == 0
