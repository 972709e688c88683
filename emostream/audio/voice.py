"""From the sound of one stream to what is said of its voice: one second, every half second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emostream.audio.activity import CHUNK_SAMPLES, SpeechDetector
from emostream.audio.arousal import ArousalModel
from emostream.audio.features import features_of, quantiles, syllables_per_second
from emostream.audio.frames import (
    FRAME_SAMPLES,
    FRAMES_PER_SECOND,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    Frames,
    Samples,
    frames_of,
    num_frames_in,
)
from emostream.audio.loudness import loudness_lufs
from emostream.audio.network import Network
from emostream.domain.voice import VoiceFlag, VoiceWindow

WINDOW_SECONDS = 1.0
STEP_SECONDS = 0.5
CONTEXT_SECONDS = 3.0
"""Up to the end of a window; what takes longer than a second to hear is computed from it."""

MIN_SPEECH = 0.5
"""Probability from which on it is speech, as Silero VAD is used by its authors."""

_WINDOW_SAMPLES = int(WINDOW_SECONDS * SAMPLE_RATE_HZ)
_STEP_SAMPLES = int(STEP_SECONDS * SAMPLE_RATE_HZ)
_OVERHANG_FRAMES = FRAME_SAMPLES // HOP_SAMPLES - 1  # of a stretch, that reach over its end
_WINDOW_FRAMES = int(WINDOW_SECONDS * FRAMES_PER_SECOND) - _OVERHANG_FRAMES
_CONTEXT_FRAMES = int(CONTEXT_SECONDS * FRAMES_PER_SECOND) - _OVERHANG_FRAMES
_MIN_VOICED_FRAMES = 10
_MIN_SPEECH_FRAMES = FRAMES_PER_SECOND  # for what is computed from the context
_CLIP_LEVEL = 0.985  # of full scale: resampling rounds what was cut off
_MAX_CLIPPED_SHARE = 0.001
_LOWEST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class VoiceModels:
    """The networks, shared by all streams of a process."""

    activity: Network
    arousal: ArousalModel


class VoiceAnalyzer:
    """Measures the voice of one stream. The same samples give the same windows, however they are cut.

    Args:
        models: shared.
    """

    def __init__(self, models: VoiceModels) -> None:
        self._models = models
        self._detector = SpeechDetector(models.activity)
        self._waiting: Samples = np.empty(0, np.float32)  # of the next step
        self._window: Samples = np.empty(0, np.float32)
        self._tail: Samples = np.empty(0, np.float32)  # from the first frame on that is not complete
        self._frames = Frames.none()
        self._is_speech = np.empty(0, np.bool_)
        self._num_steps = 0
        self._num_frames = 0
        self._probabilities: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._num_chunks_before = 0  # those that are not kept
        self._last_speech_seconds: float | None = None

    def push(self, samples: Samples) -> Iterator[VoiceWindow]:
        """The windows that are complete with these samples, which follow the last ones.

        Raises:
            InferenceError: a network cannot be computed.
        """
        self._waiting = np.concatenate([self._waiting, samples])
        while len(self._waiting) >= _STEP_SAMPLES:
            step, self._waiting = self._waiting[:_STEP_SAMPLES], self._waiting[_STEP_SAMPLES:]
            self._add(step)
            if len(self._window) == _WINDOW_SAMPLES:
                yield self._measured()

    def _add(self, step: Samples) -> None:
        self._num_steps += 1
        self._window = np.concatenate([self._window, step])[-_WINDOW_SAMPLES:]
        self._tail = np.concatenate([self._tail, step])
        is_speech = self._speech_of(step, num_frames_in(len(self._tail)))
        new = frames_of(self._tail, is_speech)
        self._tail = self._tail[len(new) * HOP_SAMPLES :]
        if is_speech.any():
            last = self._num_frames + int(np.flatnonzero(is_speech)[-1])
            self._last_speech_seconds = (last * HOP_SAMPLES + FRAME_SAMPLES) / SAMPLE_RATE_HZ
        self._num_frames += len(new)
        self._frames = self._frames.followed_by(new, keep=_CONTEXT_FRAMES)
        self._is_speech = np.concatenate([self._is_speech, is_speech])[-_CONTEXT_FRAMES:]

    def _speech_of(self, step: Samples, num_frames: int) -> npt.NDArray[np.bool_]:
        """Which of the next frames are speech."""
        self._probabilities = np.concatenate([self._probabilities, self._detector.probabilities(step)])
        middles = (self._num_frames + np.arange(num_frames)) * HOP_SAMPLES + FRAME_SAMPLES // 2
        chunks = middles // CHUNK_SAMPLES - self._num_chunks_before
        found = self._probabilities[np.minimum(chunks, len(self._probabilities) - 1)] >= MIN_SPEECH
        num_done = max(0, int(chunks[-1]) - 1) if num_frames else 0
        self._probabilities = self._probabilities[num_done:]
        self._num_chunks_before += num_done
        return np.asarray(found)

    def _measured(self) -> VoiceWindow:
        ended_seconds = self._num_steps * STEP_SECONDS
        is_speech = self._is_speech[-_WINDOW_FRAMES:]
        pitch_hz = self._frames.pitch_hz[-_WINDOW_FRAMES:][is_speech]
        pitch_hz = pitch_hz[pitch_hz > 0]
        low = median = high = None
        if len(pitch_hz) >= _MIN_VOICED_FRAMES:
            low, median, high = quantiles(pitch_hz, (_LOWEST_SHARE, 0.5, 1 - _LOWEST_SHARE))
        rate = arousal = None
        if self._is_speech.sum() >= _MIN_SPEECH_FRAMES:
            rate = syllables_per_second(self._frames, self._is_speech)
            arousal = self._models.arousal.arousal_of(features_of(self._frames, self._is_speech, rate=rate))
        loudness = loudness_lufs(self._window)
        spoken_at = self._last_speech_seconds
        return VoiceWindow(
            window_index=self._num_steps - int(WINDOW_SECONDS / STEP_SECONDS),
            started_pts_seconds=ended_seconds - WINDOW_SECONDS,
            ended_pts_seconds=ended_seconds,
            speech_share=float(is_speech.mean()),
            quality=self._flags(is_silent=loudness is None),
            loudness_lufs=loudness,
            pitch_hz=median,
            pitch_low_hz=low,
            pitch_high_hz=high,
            syllables_per_second=rate,
            # Half a frame at the end of a window is not heard yet.
            pause_seconds=None if spoken_at is None else _pause(ended_seconds - spoken_at),
            arousal=arousal,
        )

    def _flags(self, *, is_silent: bool) -> tuple[VoiceFlag, ...]:
        if is_silent:
            return ("silent",)
        is_clipped = np.mean(np.abs(self._window) >= _CLIP_LEVEL) > _MAX_CLIPPED_SHARE
        return ("clipped",) if is_clipped else ()


def _pause(seconds: float) -> float:
    """Without the frames that are not complete at the end of a window."""
    return seconds if seconds > FRAME_SAMPLES / SAMPLE_RATE_HZ else 0.0
