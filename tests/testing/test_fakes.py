"""The parts we give to tests keep the roles' promises."""

from __future__ import annotations

import numpy as np
import pytest

from emostream.decode.source import FrameSource
from emostream.domain.stream import StreamKind
from emostream.errors import SinkUnavailableError, SourceRejectedError, SourceUnavailableError
from emostream.publish.sink import EventSink
from emostream.testing.fakes import (
    START,
    CollectingSink,
    ConstantClassifier,
    FakeClock,
    ScriptedDetector,
    ScriptedSource,
    face_at,
    gray_frames,
)
from emostream.vision.classify.classifier import EmotionClassifier
from emostream.vision.detect.detector import FaceDetector
from tests.publish.samples import EVENT, STATUS


def test_they_have_the_roles() -> None:
    """mypy checks these assignments."""
    source: FrameSource = ScriptedSource([])
    detector: FaceDetector = ScriptedDetector([])
    classifier: EmotionClassifier = ConstantClassifier()
    sink: EventSink = CollectingSink()
    assert all((source, detector, classifier, sink is not None))


def test_a_source_yields_its_frames_then_ends() -> None:
    frames = gray_frames(5)
    with ScriptedSource(frames) as source:
        assert list(source) == frames
        assert (source.kind, source.info.num_frames, source.stats.num_decoded) == (StreamKind.FILE, 5, 5)
    assert source.is_closed


def test_a_source_fails_at_the_given_frame() -> None:
    frames = gray_frames(2)
    seen = []
    with ScriptedSource(frames, error=SourceUnavailableError("gone")) as source, pytest.raises(SourceUnavailableError):
        for frame in source:
            seen.append(frame)
    assert seen == frames
    with pytest.raises(SourceRejectedError), ScriptedSource(frames, open_error=SourceRejectedError("no")):
        pass


def test_closing_a_source_ends_its_iteration() -> None:
    source = ScriptedSource(gray_frames(5))
    seen = 0
    for _ in source:
        seen += 1
        source.close()
    assert seen == 1


def test_gray_frames_have_known_values_and_times() -> None:
    frames = gray_frames(40, fps=10)
    assert [int(frame.luma[0, 0]) for frame in frames[:3]] == [0, 7, 14]
    assert int(frames[39].luma.max()) == 39 * 7 % 256
    assert frames[10].pts_seconds == 1.0
    assert (frames[10].captured_at - START).total_seconds() == 1.0


def test_a_detector_follows_its_script_and_repeats_the_end() -> None:
    weak, strong = face_at(0, 0, score=0.6), face_at(50, 0, score=0.9)
    detector = ScriptedDetector([[], [weak, strong]])
    picture = np.zeros((48, 64), np.uint8)
    assert [detector.detect(picture) for _ in range(3)] == [[], [strong, weak], [strong, weak]]
    assert ScriptedDetector([]).detect(picture) == []


def test_a_constant_classifier_gives_distributions() -> None:
    classifier = ConstantClassifier()
    result = classifier.classify(np.zeros((3, 64, 64), np.uint8))
    assert result.shape == (3, 7)
    assert result.dtype == np.float32
    assert classifier.num_crops == 3
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-6)
    assert classifier.classify(np.zeros((0, 64, 64), np.uint8)).shape == (0, 7)
    classifier.close()
    assert classifier.is_closed


async def test_a_collecting_sink_keeps_events_and_fails_as_scripted() -> None:
    sink = CollectingSink(failures=[SinkUnavailableError("away")])
    with pytest.raises(SinkUnavailableError):
        await sink.publish([EVENT])
    await sink.publish([EVENT])
    await sink.publish_status(STATUS)
    await sink.close()
    assert (sink.events, sink.statuses, sink.is_closed) == ([EVENT], [STATUS], True)


def test_a_fake_clock_is_moved_also_backwards() -> None:
    clock = FakeClock()
    assert clock() == clock() == START
    clock.advance(1.5)
    assert (clock() - START).total_seconds() == 1.5
    clock.advance(-3)
    assert clock() < START
