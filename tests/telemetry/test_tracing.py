"""Traces of frames, seen by a real receiver."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.config import TracingSettings, TrackSettings
from emostream.errors import ConfigError, InferenceError
from emostream.pipeline.pipeline import Pipeline
from emostream.telemetry.logs import configure_logging
from emostream.telemetry.open_tracer import open_tracer
from emostream.telemetry.tracing import FrameTracer, Span, is_sampled, trace_id_of
from emostream.testing.fakes import (
    CollectingSink,
    ConstantClassifier,
    ScriptedDetector,
    ScriptedSource,
    face_at,
    gray_frames,
)
from emostream.vision.classify.batcher import CropBatcher
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.track.follower import FaceFollower
from tests.integration.command_line import run_emostream
from tests.media import make_clip
from tests.otlp_receiver import OtlpReceiver, attributes_of, otlp_receiver

pytest.importorskip("opentelemetry.sdk")

EPOCH = 7


def _pipeline(
    num_frames: int, *, tracer: FrameTracer | None, sink: CollectingSink | None = None, **parts: Any
) -> Pipeline:
    return Pipeline(
        ScriptedSource(gray_frames(num_frames)),
        stream_id="test",
        epoch=EPOCH,
        follower=FaceFollower(
            ScriptedDetector(parts.get("faces", [[face_at(20, 4)]])).detect, settings=TrackSettings()
        ),
        classifier=CropBatcher(parts.get("classifier") or ConstantClassifier(), num_workers=1, max_batch_size=32),
        smoother=EmotionSmoother(time_constant_seconds=0.5),
        sink=sink or CollectingSink(),
        tracer=tracer,
    )


async def _traced(receiver: OtlpReceiver, num_frames: int, *, ratio: float = 1.0, **parts: Any) -> CollectingSink:
    sink = CollectingSink()
    with open_tracer(TracingSettings(ratio=ratio, endpoint=receiver.url), instance_id="w1") as tracer:
        await _pipeline(num_frames, tracer=tracer, sink=sink, **parts).run()
    return sink


async def test_every_stage_of_every_frame_arrives() -> None:
    with otlp_receiver() as receiver:
        await _traced(receiver, 20)
    roots = {attributes_of(root)["emostream.frame_index"]: root for root in receiver.roots()}
    assert sorted(roots) == list(range(20))
    for index, root in roots.items():
        found = attributes_of(root)
        assert (root.name, found["emostream.stream_id"], found["emostream.epoch"]) == ("frame", "test", EPOCH)
        assert (found["emostream.num_faces"], found["emostream.model"]) == (1, "constant 1")
        assert int.from_bytes(root.trace_id, "big") == trace_id_of("test", epoch=EPOCH, frame_index=index)
        stages = receiver.children_of(root)
        assert {"decode", "follow", "classify", "publish"} <= stages.keys()
        assert set(receiver.children_of(stages["classify"])) == {"wait", "inference"}
        order = [stages[name] for name in ("decode", "detect", "follow", "classify", "publish") if name in stages]
        starts = [span.start_time_unix_nano for span in order]
        assert starts == sorted(starts)
        assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in order)
        assert root.end_time_unix_nano == stages["publish"].end_time_unix_nano
    assert {root.trace_id for root in receiver.roots()} == {span.trace_id for span in receiver.spans}
    assert receiver.resources[0]["service.name"] == "emostream"
    assert receiver.resources[0]["service.instance.id"] == "w1"


async def test_a_frame_without_a_face_is_not_classified() -> None:
    with otlp_receiver() as receiver:
        await _traced(receiver, 1, faces=[[]])
    (root,) = receiver.roots()
    assert set(receiver.children_of(root)) == {"decode", "detect", "follow", "publish"}


@pytest.mark.heavy
async def test_a_share_of_the_frames_and_the_same_each_time() -> None:
    with otlp_receiver() as receiver:
        await _traced(receiver, 200, ratio=0.25)
        indexes = sorted(attributes_of(root)["emostream.frame_index"] for root in receiver.roots())
        await _traced(receiver, 200, ratio=0.25)
    again = sorted(attributes_of(root)["emostream.frame_index"] for root in receiver.roots())
    assert again == sorted(indexes * 2)
    assert 20 < len(indexes) < 80


class _Broken(ConstantClassifier):
    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        logging.getLogger("emostream.test").warning("about to fail")
        raise InferenceError("no answer from http://user:secret@host/")


async def test_a_failure_ends_the_trace_and_names_it() -> None:
    with otlp_receiver() as receiver, pytest.raises(InferenceError) as caught:
        await _traced(receiver, 1, classifier=_Broken())
    (root,) = receiver.roots()
    classify = receiver.children_of(root)["classify"]
    assert (root.status.code, classify.status.code) == (2, 2)
    assert "InferenceError" in classify.status.message and "secret" not in classify.status.message
    assert caught.value.trace_id == root.trace_id.hex()


class _Telling(CollectingSink):
    async def publish(self, events: Any) -> None:
        logging.getLogger("emostream.test").warning("slow")


async def test_lines_of_the_log_carry_the_trace() -> None:
    loggers = [logging.getLogger(name) for name in ("emostream", "opentelemetry")]
    before = [(found.handlers, found.level, found.propagate) for found in loggers]
    try:
        configure_logging("warning")
        (handler,) = loggers[0].handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(output := io.StringIO())
        with (
            otlp_receiver() as receiver,
            open_tracer(TracingSettings(ratio=1, endpoint=receiver.url), instance_id="w1") as tracer,
        ):
            await _pipeline(1, tracer=tracer, sink=_Telling()).run()
            await _pipeline(1, tracer=None, sink=_Telling()).run()
    finally:
        for found, (handlers, level, propagates) in zip(loggers, before, strict=True):
            found.handlers, found.propagate = handlers, propagates
            found.setLevel(level)
    traced, untraced = output.getvalue().splitlines()
    assert f"slow (trace {trace_id_of('test', epoch=EPOCH, frame_index=0):032x})" in traced
    assert untraced.endswith("slow")


async def test_the_environment_of_opentelemetry_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "cameras")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with open_tracer(TracingSettings(ratio=1), instance_id="w1") as tracer:
            await _pipeline(1, tracer=tracer).run()
    (resource,) = receiver.resources
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("cameras", "test")
    assert resource["service.instance.id"] == "w1"


def test_a_receiver_that_is_away_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    from emostream.telemetry.otlp import OtlpExporter  # needs the packages of an extra

    exporter = OtlpExporter(endpoint="http://127.0.0.1:9", instance_id="w1", close_seconds=0.1)
    exporter.export(1, Span("frame", 1, 2))
    exporter.close()
    assert [record.args for record in caplog.records if record.name == "emostream.telemetry.otlp"] == [(0.1,)]


_WITHOUT_PACKAGES = """
import sys
from emostream.config import TracingSettings
from emostream.telemetry.open_tracer import open_tracer

sys.modules["opentelemetry"] = None  # as if it were not installed
with open_tracer(TracingSettings(), instance_id="w1") as tracer:
    assert tracer is None
try:
    with open_tracer(TracingSettings(ratio=0.1), instance_id="w1"):
        pass
except Exception as exc:
    print(type(exc).__name__, exc)
"""


@pytest.mark.heavy
def test_it_says_what_is_missing() -> None:
    outcome = subprocess.run([sys.executable, "-c", _WITHOUT_PACKAGES], capture_output=True, text=True, check=True)
    assert outcome.stdout.startswith(ConfigError.__name__)
    assert "pip install 'emostream[tracing]'" in outcome.stdout


@pytest.mark.heavy
def test_off_means_that_nothing_is_imported() -> None:
    # redis-py imports the SDK by itself where it is installed.
    program = (
        "import sys, emostream.cli.analyze, emostream.service.worker.open; "
        "print([name for name in sys.modules if name.startswith('opentelemetry.exporter.otlp')])"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"


@pytest.mark.integration
def test_the_command_line_traces_as_well(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=4)
    with otlp_receiver() as receiver:
        # The endpoint by OpenTelemetry's own variable, the rest by ours.
        environment = {"EMOSTREAM_TRACING__RATIO": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        outcome = run_emostream("analyze", clip, "--json", environment=environment)
    assert outcome.code == 0, outcome.err
    published = [json.loads(line) for line in outcome.out.splitlines()]
    events = [event for event in published if "frame_index" in event]
    roots = {int.from_bytes(root.trace_id, "big"): root for root in receiver.roots()}
    assert roots.keys() == {
        trace_id_of(event["stream_id"], epoch=event["epoch"], frame_index=event["frame_index"]) for event in events
    }
    assert len(roots) == 4


@given(st.integers(1, (1 << 128) - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_every_smaller_one(trace_id: int, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert not is_sampled(trace_id, ratio=small) or is_sampled(trace_id, ratio=large)
    assert is_sampled(trace_id, ratio=1.0) and not is_sampled(trace_id, ratio=0.0)


@given(st.integers(0, 1 << 53), st.integers(0, 1 << 40))
def test_frames_have_different_traces(epoch: int, frame_index: int) -> None:
    trace_id = trace_id_of("door", epoch=epoch, frame_index=frame_index)
    assert 0 < trace_id < 1 << 128
    assert trace_id != trace_id_of("door", epoch=epoch, frame_index=frame_index + 1)
    assert trace_id != trace_id_of("gate", epoch=epoch, frame_index=frame_index)
