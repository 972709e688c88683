"""The counters of real parts become figures."""

from __future__ import annotations

import logging
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from emostream.client import ConsumerGroup
from emostream.config import PublishSettings, TrackSettings
from emostream.pipeline.pipeline import Pipeline
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.publish.spool.sink import SpoolSink
from emostream.telemetry.collector import MetricsCollector
from emostream.telemetry.process import resident_memory_bytes
from emostream.telemetry.values import MetricFamily
from emostream.testing.fakes import (
    CollectingSink,
    ConstantClassifier,
    ScriptedDetector,
    ScriptedSource,
    face_at,
    gray_frames,
)
from emostream.vision.classify.batcher import CropBatcher
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.track.follower import FaceFollower
from tests.media import make_clip, wait_until
from tests.onnx_models import save_classifier
from tests.ports import unused_port
from tests.publish.samples import events_of


def by_name(families: list[MetricFamily]) -> dict[str, dict[tuple[str, ...], float]]:
    return {family.metric.name: family.values for family in families}


async def run_stream(collector: MetricsCollector, *, stream_id: str = "door", num_frames: int = 6) -> None:
    source = ScriptedSource(gray_frames(num_frames))
    batcher = CropBatcher(ConstantClassifier(), num_workers=1, max_batch_size=32)
    collector.watch_classifier(batcher)
    collector.watch_source(stream_id, source)
    pipeline = Pipeline(
        source,
        stream_id=stream_id,
        epoch=1,
        follower=FaceFollower(ScriptedDetector([[face_at(10, 4)]]).detect, settings=TrackSettings()),
        classifier=batcher,
        smoother=EmotionSmoother(time_constant_seconds=0.5),
        sink=collector.measured(CollectingSink()),
    )
    await pipeline.run()
    batcher.close()


@pytest.mark.parametrize(("visible", "num_unused"), [("", 0), ("0", 1)])
def test_the_engine_in_use_and_an_idle_gpu_are_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, num_unused: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    batcher = CropBatcher(OrtClassifier(save_classifier(tmp_path)), num_workers=1, max_batch_size=4)
    collector = MetricsCollector()
    collector.watch_classifier(batcher)
    found = by_name(collector.collect())
    batcher.close()
    assert found["emostream_engine_info"] == {("onnxruntime", batcher.manifest.precision, "cpu"): 1}
    assert found["emostream_gpu_unused_ratio"] == {(): num_unused}


def test_an_engine_that_does_not_say_what_it_is_makes_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    batcher = CropBatcher(ConstantClassifier(), num_workers=1, max_batch_size=4)
    collector = MetricsCollector()
    collector.watch_classifier(batcher)
    found = by_name(collector.collect())
    batcher.close()
    assert set(found["emostream_engine_info"]) == {("plugin", batcher.manifest.precision, "unknown")}
    assert found["emostream_gpu_unused_ratio"] == {(): 0}


async def test_a_pipeline_is_measured_without_knowing_it() -> None:
    collector = MetricsCollector()
    await run_stream(collector)
    families = collector.collect()
    found = by_name(families)
    (sizes,) = (family for family in families if family.metric.name == "emostream_classify_batch_size")
    assert sum(sizes.distributions[()].sums) == 6, "the crops of all batches"
    assert found["emostream_classify_wait_seconds_total"][()] > 0
    assert found["emostream_classify_compute_seconds_total"][()] > 0
    assert found["emostream_decode_frames_total"] == {("door",): 6}
    assert found["emostream_publish_events_total"] == {("door",): 6}
    assert found["emostream_track_faces_total"] == {("door",): 6}
    assert found["emostream_emotion_faces_total"] == {("door", "happy"): 6}
    assert found["emostream_decode_info"].keys() == {("door", "script")}
    assert found["emostream_model_info"] == {("constant", "1"): 1}
    assert found["emostream_process_resident_memory_bytes"][()] > 1e7
    assert {stage for (stage,) in found["emostream_stage_seconds_total"]} >= {"decode", "detect", "publish"}
    assert found["emostream_source_lag_seconds"].keys() == {("door",)}


async def test_looking_twice_counts_once() -> None:
    collector = MetricsCollector()
    await run_stream(collector)
    collector.collect()
    assert by_name(collector.collect())["emostream_decode_frames_total"] == {("door",): 6}


async def test_sums_stay_when_a_stream_leaves_and_comes_back() -> None:
    collector = MetricsCollector(has_stream_label=False)
    await run_stream(collector)
    collector.keep_streams(())
    await run_stream(collector)
    assert by_name(collector.collect())["emostream_decode_frames_total"] == {(): 12}


async def test_streams_that_rest_have_no_lag() -> None:
    collector = MetricsCollector()
    await run_stream(collector)
    assert not by_name(collector.collect(resting_ids={"door"}))["emostream_source_lag_seconds"]


@pytest.mark.integration
async def test_redis_and_its_spool_are_measured(tmp_path: Path) -> None:
    with EmbeddedRedis() as server:
        inner = RedisSink(PublishSettings(group_check_seconds=0), redis_url=server.url)
        async with SpoolSink(inner, folder=tmp_path) as spool:
            collector = MetricsCollector()
            collector.watch_sink(spool)
            source = ScriptedSource(gray_frames(1))
            collector.watch_source("door", source)
            await run_stream_into(spool, source)
            found = by_name(collector.collect())
    assert found["emostream_redis_events_total"]["new",] == 3, "an event and two changes of state"
    assert found["emostream_spool_waiting_events"] == {(): 0}
    assert found["emostream_events_lost_total"] == {("spool_full",): 0, ("rejected",): 0}


@pytest.mark.integration
async def test_consumer_groups_that_fall_behind_are_measured() -> None:
    settings = PublishSettings(max_events_per_stream=100, group_check_seconds=0)
    with EmbeddedRedis() as server:
        collector = MetricsCollector()
        collector.watch_source("door", ScriptedSource([]))
        async with RedisSink(settings, redis_url=server.url) as sink:
            collector.watch_sink(sink)
            await sink.publish(events_of("door", [0]))
            async with ConsumerGroup(server.url, group="slow", streams=["door"]) as group:
                async for batch in group.batches():
                    await group.ack(*batch)
                    break
            await sink.publish(events_of("door", range(1, 91)))
            found = by_name(collector.collect())
    assert found["emostream_redis_group_lag_events"] == {("door", "slow"): 90}
    assert found["emostream_redis_behind_warnings_total"] == {(): 1}


async def run_stream_into(sink: SpoolSink, source: ScriptedSource) -> None:
    batcher = CropBatcher(ConstantClassifier(), num_workers=1, max_batch_size=32)
    await Pipeline(
        source,
        stream_id="door",
        epoch=1,
        follower=FaceFollower(ScriptedDetector([[]]).detect, settings=TrackSettings()),
        classifier=batcher,
        smoother=EmotionSmoother(time_constant_seconds=0.5),
        sink=sink,
    ).run()
    batcher.close()


def test_memory_is_that_of_this_process() -> None:
    before = resident_memory_bytes()
    block = bytearray(b"x" * (64 << 20))
    assert resident_memory_bytes() - before > len(block) / 2


@pytest.mark.integration
@pytest.mark.slow
def test_analyze_serves_metrics_while_it_runs(tmp_path: Path) -> None:
    clip, port = make_clip(tmp_path / "clip.mp4", num_frames=2000, width=640, height=360), unused_port()
    command = [sys.executable, "-m", "emostream", "analyze", str(clip), "--json", "--metrics-port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        try:
            found = wait_until(lambda: "emostream_publish_events_total" in scraped(port), timeout_seconds=60)
            logging.info("the last scrape: %s", scraped(port))
            assert found
        finally:
            running.terminate()


def scraped(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            text: str = response.read().decode()
            return text
    except OSError:
        return ""
