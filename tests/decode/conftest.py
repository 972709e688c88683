"""What most decoding tests do: read a source to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emostream.config import DecodeSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.source import DecodeStats, SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec, stream_kind_of
from emostream.errors import SourceError


@dataclass
class Reading:
    """What came out of a source."""

    frames: list[Frame] = field(default_factory=list)
    info: SourceInfo | None = None
    stats: DecodeStats = field(default_factory=DecodeStats)
    error: SourceError | None = None

    @property
    def levels(self) -> list[int]:
        """Full-range gray level of the middle of each frame."""
        return [
            int(frame.full_luma(frame.luma[frame.height // 2 :, frame.width // 2 :])[0, 0]) for frame in self.frames
        ]


Read = Callable[..., Reading]


class TickingClock:
    """Each look at it is a second later."""

    def __init__(self) -> None:
        self._at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._at += timedelta(seconds=1)
        return self._at


@pytest.fixture
def read(capfd: pytest.CaptureFixture[str]) -> Read:
    """Reads a source to its end or error, and checks that FFmpeg kept quiet and nothing stayed open."""

    def read_all(
        url: Any, *, kind: StreamKind | None = None, settings: dict[str, Any] | None = None, **spec: Any
    ) -> Reading:
        capfd.readouterr()  # encoders are not quiet
        reading = Reading()
        source = PyAVSource(
            StreamSpec("stream", str(url), kind or stream_kind_of(str(url)), **spec),
            settings=DecodeSettings(**({"open_timeout_seconds": 5.0, "read_timeout_seconds": 5.0} | (settings or {}))),
            now=TickingClock(),
        )
        try:
            with source:
                reading.info = source.info
                reading.frames.extend(source)
        except SourceError as exc:
            reading.error = exc
        reading.stats = source.stats
        assert source._opened.is_released
        assert capfd.readouterr().err == ""
        return reading

    return read_all
