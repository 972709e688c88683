"""Repeats a video by copying its packets, without encoding again; for benchmarks."""

from __future__ import annotations

import math
from pathlib import Path

import av
import av.error

from emostream.errors import SourceRejectedError

MIN_SECONDS = 20.0
"""A shorter clip is repeated: filling the pipeline at its start would count too much."""
_MAX_LOOPS = 500


def looped(video: Path, *, folder: Path, min_seconds: float = MIN_SECONDS) -> Path:
    """A clip of at least this length: the clip itself, or its packets repeated in a new file, without encoding again.

    Args:
        video: a file with a video track.
        folder: for the new file.
        min_seconds: 0 returns the clip.

    Raises:
        SourceRejectedError: it cannot be read, or not repeated.
    """
    if min_seconds <= 0:
        return video
    try:
        with av.open(str(video)) as source:
            stream = source.streams.best("video")
            if stream is None:
                raise SourceRejectedError(f"expected a video, got {video.name} without a video track")
            packets = [packet for packet in source.demux(stream) if packet.dts is not None and packet.pts is not None]
            if not packets or stream.time_base is None:
                raise SourceRejectedError(f"cannot repeat {video.name}: its packets have no time stamps")
            start = min(int(packet.pts or 0) for packet in packets)
            steps = sorted(int(packet.pts or 0) for packet in packets)
            step = max((steps[-1] - steps[0]) // max(len(steps) - 1, 1), 1)
            length = steps[-1] - start + step
            seconds = float(length * stream.time_base)
            if seconds >= min_seconds:
                return video
            num_loops = min(math.ceil(min_seconds / seconds), _MAX_LOOPS)
            path = folder / f"{video.stem}-{num_loops}-times.mkv"
            with av.open(str(path), "w") as target:
                copy = target.add_stream_from_template(stream)
                for loop in range(num_loops):
                    for packet in packets:
                        dts, pts = int(packet.dts or 0), int(packet.pts or 0)
                        packet.dts, packet.pts = dts + loop * length, pts + loop * length
                        packet.stream = copy
                        target.mux(packet)
                        packet.dts, packet.pts, packet.time_base = dts, pts, stream.time_base
            return path
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        raise SourceRejectedError(f"cannot repeat {video}: {exc}") from exc
