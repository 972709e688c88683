"""From sound to windows, on sounds of known content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from emostream.audio.activity import load_activity_network
from emostream.audio.arousal import ArousalModel
from emostream.audio.features import NUM_FEATURES
from emostream.audio.frames import SAMPLE_RATE_HZ
from emostream.audio.network import Network
from emostream.audio.voice import VoiceAnalyzer, VoiceModels
from emostream.config import ModelSettings
from emostream.domain.voice import VoiceWindow
from emostream.errors import InferenceError, ManifestError
from emostream.vision.models.store import ModelStore
from tests.audio.speech import SYLLABLE_SECONDS, spoken_words

Samples = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def models() -> VoiceModels:
    store = ModelStore(ModelSettings())
    return VoiceModels(
        load_activity_network(store.verify("voice-activity").path),
        ArousalModel(store.verify("voice-arousal").path, name="voice-arousal", version="1"),
    )


def windows_of(samples: Samples, models: VoiceModels) -> list[VoiceWindow]:
    return list(VoiceAnalyzer(models).push(samples))


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)


def test_windows_last_a_second_and_begin_every_half_second(models: VoiceModels) -> None:
    windows = windows_of(silence(2.4), models)
    assert [(w.window_index, w.started_pts_seconds, w.ended_pts_seconds) for w in windows] == [
        (0, 0.0, 1.0),
        (1, 0.5, 1.5),
        (2, 1.0, 2.0),
    ]


def test_silence_says_that_it_is_silent_and_nothing_else(models: VoiceModels) -> None:
    for window in windows_of(silence(4), models):
        assert window.quality == ("silent",)
        assert window.speech_share == 0
        assert (window.loudness_lufs, window.pitch_hz, window.arousal, window.pause_seconds) == (None,) * 4
        assert window.syllables_per_second is None


@pytest.mark.parametrize("size", [1, 7919, 16_000])
def test_the_windows_do_not_depend_on_how_the_sound_is_cut(models: VoiceModels, size: int) -> None:
    samples = spoken_words(seconds=3)[: 8_000 * 5 + 3]
    analyzer = VoiceAnalyzer(models)
    pieces = [samples[i : i + size] for i in range(0, len(samples), size)] if size > 1 else [samples[:1], samples[1:]]
    assert [window for piece in pieces for window in analyzer.push(piece)] == windows_of(samples, models)


def test_noise_is_no_speech(models: VoiceModels) -> None:
    noise = 0.05 * np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ * 4)
    windows = windows_of(noise.astype(np.float32), models)
    assert max(window.speech_share for window in windows) < 0.1
    assert all(window.loudness_lufs is not None for window in windows)


def test_speech_has_pitch_rate_and_arousal_and_what_follows_is_a_pause(models: VoiceModels) -> None:
    words = spoken_words(seconds=4)
    windows = windows_of(np.concatenate([silence(1), words, silence(3)]), models)
    spoken = windows[5]  # 2.5 to 3.5 s
    assert spoken.speech_share > 0.6
    assert spoken.pitch_hz is not None
    assert spoken.pitch_low_hz is not None
    assert spoken.pitch_high_hz is not None
    assert 60 < spoken.pitch_low_hz <= spoken.pitch_hz <= spoken.pitch_high_hz < 500
    assert spoken.syllables_per_second is not None
    assert spoken.syllables_per_second == pytest.approx(1 / SYLLABLE_SECONDS, rel=0.15)
    assert spoken.arousal is not None
    assert 0 <= spoken.arousal <= 1
    last = windows[-1]
    assert last.ended_pts_seconds == 8
    assert last.pause_seconds == pytest.approx(3, abs=0.5)
    assert (last.pitch_hz, last.speech_share) == (None, 0)


def test_what_is_cut_off_at_full_scale_is_clipped(models: VoiceModels) -> None:
    times = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = np.sin(2 * np.pi * 300 * times).astype(np.float32)
    assert windows_of(np.clip(3 * tone, -1, 1), models)[0].quality == ("clipped",)
    assert windows_of(0.9 * tone, models)[0].quality == ()


def test_a_file_that_is_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "voice-arousal.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ManifestError):
        ArousalModel(path, name="a", version="1")
    with pytest.raises(ManifestError):
        Network(ModelStore(ModelSettings()).verify("voice-arousal").path, inputs=["input"], outputs=["arousal"])


def test_features_of_another_number_are_an_error(models: VoiceModels) -> None:
    assert 0 <= models.arousal.arousal_of(np.zeros(NUM_FEATURES, np.float32)) <= 1
    with pytest.raises(InferenceError):
        models.arousal.arousal_of(np.zeros(NUM_FEATURES + 1, np.float32))
