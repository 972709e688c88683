"""The voice of clips whose sound is known, beside their pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emostream.audio.frames import SAMPLE_RATE_HZ
from emostream.config import Settings
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.pipeline.build import Models, build_pipeline
from emostream.testing.fakes import CollectingSink, ConstantClassifier, ScriptedDetector
from emostream.vision.classify.batcher import CropBatcher
from emostream.wire.events import json_from_event
from tests.audio.speech import spoken_words
from tests.media import corrupt_packets, make_clip, make_talking_clip


@pytest.fixture
def models() -> Iterator[Models]:
    """Those that find no face: the voice does not need any."""
    classifier = CropBatcher(ConstantClassifier(), num_workers=1, max_batch_size=8)
    made = Models(detector=ScriptedDetector([[]]), classifier=classifier)
    yield made
    made.close()


async def run(path: Path, models: Models, *, voice: bool = True) -> CollectingSink:
    sink = CollectingSink()
    spec = StreamSpec("talk", str(path), StreamKind.FILE)
    await build_pipeline(spec, settings=Settings(), models=models, sink=sink, epoch=7, has_voice=voice).run()
    return sink


def first_speech(sink: CollectingSink) -> float:
    """About when the speech begins: the first window with speech holds it in its last part."""
    window = next(event.window for event in sink.voices if event.window.speech_share > 0)
    return window.ended_pts_seconds - window.speech_share


async def test_windows_come_with_the_stream_the_epoch_and_the_time_of_the_pictures(
    tmp_path: Path, models: Models
) -> None:
    words = np.concatenate([np.zeros(SAMPLE_RATE_HZ, np.float32), spoken_words(seconds=3)])
    sink = await run(make_talking_clip(tmp_path / "a.mp4", words, seconds=4), models)
    assert [event.window.ended_pts_seconds for event in sink.voices] == [1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert {(event.stream_id, event.epoch, event.model_name) for event in sink.voices} == {("talk", 7, "voice-arousal")}
    assert first_speech(sink) == pytest.approx(1.0, abs=0.2)
    assert sink.voices[-1].window.arousal is not None


@pytest.mark.parametrize(("sound_begins", "picture_begins"), [(1.5, 0.0), (0.0, 1.5), (2.0, 1.0)])
async def test_sound_and_picture_that_begin_at_other_times_stay_together(
    tmp_path: Path, models: Models, sound_begins: float, picture_begins: float
) -> None:
    words = np.concatenate([np.zeros(2 * SAMPLE_RATE_HZ, np.float32), spoken_words(seconds=2)])
    path = make_talking_clip(
        tmp_path / "a.mkv", words, seconds=5, sound_begins=sound_begins, picture_begins=picture_begins
    )
    sink = await run(path, models)
    # A player shows what the container's stamps say; time 0 of the events is the earlier of the two beginnings.
    zero = min(sound_begins, picture_begins)
    assert first_speech(sink) == pytest.approx(sound_begins + 2 - zero, abs=0.25)


async def test_the_events_of_faces_are_the_same_with_and_without_voice(tmp_path: Path, models: Models) -> None:
    path = make_talking_clip(tmp_path / "a.mp4", spoken_words(seconds=2), seconds=2)
    texts = []
    for voice in (False, True):
        sink = await run(path, models, voice=voice)
        contents = [json.loads(json_from_event(event)) for event in sink.events]
        for content in contents:  # they differ from run to run
            del content["captured_at"], content["latency_ms"]
        texts.append(contents)
        assert bool(sink.voices) is voice
    assert texts[0] == texts[1]


async def test_without_sound_a_status_says_so_and_the_pictures_are_analysed(tmp_path: Path, models: Models) -> None:
    sink = await run(make_clip(tmp_path / "a.mp4"), models)
    assert (len(sink.events), sink.voices) == (10, [])
    assert "no sound" in sink.statuses[0].detail


@pytest.mark.parametrize(("rate", "layout", "codec"), [(96_000, "mono", "flac"), (48_000, "7.1", "pcm_s16le")])
async def test_rates_and_channels_of_studios(
    tmp_path: Path, models: Models, rate: int, layout: str, codec: str
) -> None:
    words = np.repeat(spoken_words(seconds=2), rate // SAMPLE_RATE_HZ).astype(np.float32)
    path = make_talking_clip(tmp_path / "a.mkv", words, seconds=2, rate=rate, layout=layout, codec=codec)
    sink = await run(path, models)
    assert sink.voices[-1].window.speech_share > 0.5


async def test_sound_that_is_damaged_throughout_costs_no_picture(tmp_path: Path, models: Models) -> None:
    whole = make_talking_clip(tmp_path / "a.mp4", spoken_words(seconds=2), seconds=2)
    damaged = corrupt_packets(whole, tmp_path / "b.mp4", range(30), kind="audio")
    sink = await run(damaged, models)
    assert len(sink.events) == 20
    assert sink.statuses[-1].state == "ended"
