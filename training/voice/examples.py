"""Features of utterances: what the model learns from, and what it is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.audio.activity import CHUNK_SAMPLES, SpeechDetector
from emostream.audio.features import Features, features_of, syllables_per_second
from emostream.audio.frames import FRAME_SAMPLES, HOP_SAMPLES, SAMPLE_RATE_HZ, Samples, frames_of
from emostream.audio.network import Network
from emostream.audio.voice import CONTEXT_SECONDS, MIN_SPEECH
from training.voice.disturbances import Disturbance, any_disturbance
from training.voice.utterances import Utterance

_MIN_SPEECH_FRAMES = 30  # an utterance in which less is found is taken whole: it is speech
_MIN_CUT_SECONDS = 1.2

NUM_DISTURBED = 4
"""Disturbed cuts of each utterance in training."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows of features.

    Attributes:
        features: float32, n×`NUM_FEATURES`.
        is_high: bool, n.
        speakers: str, n.
    """

    features: npt.NDArray[np.float32]
    is_high: npt.NDArray[np.bool_]
    speakers: npt.NDArray[np.str_]


def utterance_features(samples: Samples, activity: Network) -> Features:
    """Features of one utterance, float32, `NUM_FEATURES`."""
    frames = frames_of(samples)
    probabilities = SpeechDetector(activity).probabilities(
        np.concatenate([samples, np.zeros(CHUNK_SAMPLES, np.float32)])
    )
    middles = np.arange(len(frames)) * HOP_SAMPLES + FRAME_SAMPLES // 2
    is_speech = probabilities[middles // CHUNK_SAMPLES] >= MIN_SPEECH
    if is_speech.sum() < _MIN_SPEECH_FRAMES:
        is_speech[:] = True
    return features_of(frames, is_speech, rate=syllables_per_second(frames, is_speech))


def measured_on(
    utterances: Sequence[Utterance], disturbance: Disturbance, *, activity: Network, seed: int, name: str
) -> Examples:
    """Every utterance once, as a whole."""
    rng = np.random.default_rng(seed)
    rows = [
        utterance_features(disturbance(each.samples, rng), activity)
        for each in tqdm(utterances, desc=name, leave=False)
    ]
    return _examples(rows, utterances)


def learned_from(utterances: Sequence[Utterance], *, activity: Network, seed: int) -> Examples:
    """Every utterance once as it is, and `NUM_DISTURBED` cuts of it of up to three seconds, disturbed."""
    rng = np.random.default_rng(seed)
    rows: list[Features] = []
    of: list[Utterance] = []
    for each in tqdm(utterances, desc="training set", leave=False):
        cuts = [any_disturbance(_cut(each.samples, rng), rng) for _ in range(NUM_DISTURBED)]
        for samples in (each.samples, *cuts):
            rows.append(utterance_features(samples, activity))
            of.append(each)
    return _examples(rows, of)


def _cut(samples: Samples, rng: np.random.Generator) -> Samples:
    longest = min(len(samples), int(CONTEXT_SECONDS * SAMPLE_RATE_HZ))
    length = int(rng.integers(min(int(_MIN_CUT_SECONDS * SAMPLE_RATE_HZ), longest), longest + 1))
    begin = int(rng.integers(0, len(samples) - length + 1))
    return samples[begin : begin + length]


def _examples(rows: Sequence[Features], of: Sequence[Utterance]) -> Examples:
    return Examples(
        features=np.stack(rows),
        is_high=np.array([each.is_high for each in of]),
        speakers=np.array([each.speaker for each in of]),
    )
