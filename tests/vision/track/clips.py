"""Frames of the real clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emostream.config import DecodeSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec


def frames_of(path: Path) -> Iterator[Frame]:
    """All frames of a clip, in order."""
    spec = StreamSpec(stream_id="clip", url=str(path), kind=StreamKind.FILE)
    with PyAVSource(spec, settings=DecodeSettings()) as source:
        yield from source
