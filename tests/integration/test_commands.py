"""demo, doctor, models and bench as child processes."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from emostream.cli.bench.demo_clip import make_demo_clip
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
    on_gpus = {"tensorrt", "tensorrt_rtx", "onnxruntime_tensorrt", "onnxruntime_cuda"}
    assert set(report["engines"]) == {"onnxruntime", *on_gpus}
    chosen = report["classifier_engine"].removesuffix(" (auto)")
    assert report["engines"][chosen].startswith("available")
    assert report["ready"] and all(model["usable"] for model in report["models"])


def test_doctor_begins_with_a_verdict(tmp_path: Path) -> None:
    outcome = run_emostream("doctor", environment={"COLUMNS": "80"})
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("✓ ready")
    assert "detect.min_score" not in outcome.out
    verbose = run_emostream("doctor", "-v", environment={"COLUMNS": "80"})
    assert verbose.out.startswith("✓ ready")
    assert "detect.min_score" in verbose.out
    damaged = tmp_path / "model.onnx"
    damaged.write_bytes(b"no model")
    outcome = run_emostream("doctor", environment={"EMOSTREAM_CLASSIFY__MODEL": str(damaged)})
    assert outcome.code == 5
    assert outcome.out.startswith("✗ not ready")
    assert str(tmp_path) in outcome.out


def test_doctor_says_where_things_are_kept(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "model.onnx").write_bytes(bytes(1000))
    environment = {"EMOSTREAM_MODELS__CACHE_DIR": str(cache), "EMOSTREAM_PUBLISH__SPOOL_DIR": str(tmp_path / "spool")}
    outcome = run_emostream("doctor", "--paths", "--json", environment=environment)
    assert outcome.code == 0, outcome.err
    sizes = {place["path"]: place["size_bytes"] for place in json.loads(outcome.out)}
    assert (sizes[str(cache)], sizes[str(tmp_path / "spool")]) == (1000, None)
    assert f"rm -r {cache}" in run_emostream("doctor", "--paths", environment=environment).out


def test_models_are_listed_and_verified_without_network(tmp_path: Path) -> None:
    listed = json.loads(run_emostream("models", "list", "--json").out)
    assert {entry["name"] for entry in listed} == {
        "centerface",
        "centerface-int8",
        "emotions",
        "persons",
        "voice-activity",
        "voice-arousal",
    }
    verified = run_emostream("models", "verify", "emotions", "--json")
    assert verified.code == 0, verified.err
    report = json.loads(verified.out)
    assert [entry["name"] for entry in report["files"]] == ["emotions"]
    assert {check["form"] for check in report["forms"]} >= {"fp32", "int8"}
    assert all(check["problem"] == "" for check in report["forms"])
    assert "✓ matches" in run_emostream("models", "verify", "emotions").out

    store = {"EMOSTREAM_MODELS__CACHE_DIR": str(tmp_path), "EMOSTREAM_MODELS__OFFLINE": "true"}
    assert run_emostream("models", "verify", "emotions", "centerface", environment=store).code == 0
    pull = run_emostream("models", "pull", "centerface", environment=store)
    assert pull.code == 0 and "emostream/models/centerface-" in pull.out
    assert not list(tmp_path.iterdir())
    assert run_emostream("models", "pull", "nothing", environment=store).code == 2


def test_engines_are_compiled_into_the_store_and_found_there(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    store = {"EMOSTREAM_MODELS__CACHE_DIR": str(tmp_path)}
    command = ("models", "compile", "emotions", "--engine", "tensorrt_rtx", "--batches", "8,1", "--json")
    first = run_emostream(*command, environment=store)
    assert first.code == 0, first.err
    (report,) = json.loads(first.out)
    assert (report["precision"], report["profiles"]) == ("fp16", ["1×48×48", "8×48×48"])
    assert Path(report["path"]).stat().st_size == report["size_bytes"]
    assert "building" in first.err
    again = run_emostream(*command, environment=store)
    assert again.out == first.out
    assert "building" not in again.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nonsense",), 2, "expected emotions, centerface or an .onnx file"),
        (("--engine", "abacus"), 2, "expected tensorrt or tensorrt_rtx, got 'abacus'"),
        (("--batches", "many"), 2, "expected numbers such as 1,8,32"),
        (("--precision", "fp12"), 2, "classify.precision"),
        (("gone.onnx", "--engine", "tensorrt_rtx"), 5, "gone.onnx does not exist"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_a_reason(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    outcome = run_emostream("models", "compile", *arguments, cwd=tmp_path)
    assert outcome.code == code
    assert message in outcome.err


def test_bench_prints_the_pipeline_beside_decoding_alone(tmp_path: Path) -> None:
    make_demo_clip(tmp_path / "clip.mp4", num_frames=20)
    outcome = run_emostream("bench", "pipeline", tmp_path / "clip.mp4", "--runs", "1", "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["num_frames"] == 500  # repeated, so that it lasts 20 seconds
    assert result["faces_per_frame"] == 2
    assert (
        0 < result["ratio"] == pytest.approx(result["frames_per_second"] / result["decode_frames_per_second"], rel=0.01)
    )
    assert {"decode", "detect", "classify"} <= set(result["stages"])
    assert len(result["models"]["classifier"]["sha256"]) == 64
    assert run_emostream("bench", "pipeline", tmp_path / "clip.mp4", "--runs", "1").code == 0


def test_bench_plays_a_clip_as_live_cameras(tmp_path: Path) -> None:
    make_demo_clip(tmp_path / "clip.mp4", num_frames=20)
    options = ("--streams", "2", "--fps", "5", "--seconds", "2", "--json")
    outcome = run_emostream("bench", "live", tmp_path / "clip.mp4", *options)
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert (result["num_streams"], result["fps"], result["seconds"]) == (2, 5.0, 2.0)
    assert result["faces_per_frame"] == pytest.approx(2, abs=0.2)
    assert 0 < result["published_fps"] <= 6
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p95"] <= result["latency_ms"]["p99"]
    is_sustained = result["num_dropped"] == result["num_unclassified"] == 0 and result["latency_ms"]["p99"] <= 120
    assert result["is_sustained"] == is_sustained
    assert result["memory_mb"] > 0 and len(result["models"]["classifier"]["sha256"]) == 64
