"""The voice of a file beside its pictures: sound is read as far as the pictures have come."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from emostream.audio.voice import VoiceAnalyzer, VoiceModels
from emostream.config import DecodeSettings
from emostream.decode.mono_sound import MonoSound
from emostream.decode.source import SourceInfo
from emostream.domain.redact import redact
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.domain.voice import VoiceWindow
from emostream.errors import SourceError

_READ_SECONDS = 4.0
"""Of sound at once: between the pictures' work the caches of a core have forgotten the sound's, so small pieces cost
twice as much. Only files have sound, so no one waits for it."""


class VoiceTrack:
    """The voice of one stream. The pictures do not depend on it: where there is no sound, a notice says so.

    Args:
        spec: the stream.
        settings: time-outs and limits.
        load: the networks, when they are needed.
    """

    def __init__(self, spec: StreamSpec, *, settings: DecodeSettings, load: Callable[[], VoiceModels]) -> None:
        self.model_name = ""
        self.model_version = ""
        self._spec = spec
        self._settings = settings
        self._load = load
        self._sound: MonoSound | None = None
        self._lock = threading.Lock()  # held while sound is read
        self._is_closed = False
        self._analyzer: VoiceAnalyzer | None = None
        self._due_seconds = math.inf

    def open(self, info: SourceInfo) -> str:
        """Open the sound of a source that is open; blocks. Returns why there is none, or nothing.

        Raises:
            ModelError: a network is missing or damaged.
        """
        if self._spec.kind is StreamKind.LIVE:
            return "no voice: the sound of live sources is not read"
        try:
            self._sound = MonoSound(self._spec.url, settings=self._settings, zero_seconds=info.zero_seconds or 0.0)
        except SourceError as exc:
            return f"no voice: {redact(str(exc))}"
        models = self._load()
        self.model_name, self.model_version = models.arousal.name, models.arousal.version
        self._analyzer = VoiceAnalyzer(models)
        self._due_seconds = _READ_SECONDS
        return ""

    def is_due(self, pts_seconds: float) -> bool:
        """Whether it is time to read the sound up to there."""
        return pts_seconds >= self._due_seconds

    def windows_until(self, pts_seconds: float) -> list[VoiceWindow]:
        """The windows that end by this time and were not given yet; blocks while sound is read.

        Raises:
            InferenceError: a network cannot be computed.
        """
        if self._sound is None or self._analyzer is None:
            return []
        self._due_seconds = pts_seconds + _READ_SECONDS
        found: list[VoiceWindow] = []
        with self._lock:
            if not self._is_closed:
                for samples in self._sound.samples_until(pts_seconds):
                    found += self._analyzer.push(samples)
                    if self._is_closed:
                        break
        self._release()
        return found

    def close(self) -> str:
        """Release the file, now or when a read in another thread ends. Returns what was wrong with the sound, or
        nothing."""
        if self._sound is None:
            return ""
        self._is_closed = True
        self._release()
        stats = self._sound.stats
        if stats.num_damaged and not stats.num_samples:
            return "no voice: the sound is damaged, nothing of it can be decoded"
        return f"{stats.num_damaged} packets of the sound are damaged" if stats.num_damaged else ""

    def _release(self) -> None:
        """Close a file that is not read any more: FFmpeg must not lose it in the middle of a call."""
        if self._sound is not None and self._is_closed and self._lock.acquire(blocking=False):
            try:
                self._sound.close()
            finally:
                self._lock.release()
