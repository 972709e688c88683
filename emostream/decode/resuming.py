"""Going on in the middle of a file: where to read from, so that pictures keep the numbers and times of a whole run.

The number of a picture is how many came before it, which a reader that seeks does not know. But one picture is known
by both, the last one that was published; from there it is counted back to a key frame, in packets, before any of them
is decoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

_MAX_PACKETS = 20_000  # of all streams between a key frame and the picture; some minutes
_LATER_SECONDS = 1.0  # a packet decoded this much after a picture cannot hold one that is shown before it
_EARLIER_SECONDS = (0.0, 1.0, 4.0, 16.0)
_TOLERANCE_SECONDS = 1e-5  # of times that went through an event


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A picture of a file, as an earlier run counted it.

    Attributes:
        frame_index: its number.
        pts_seconds: its time; NaN where that is unknown.
    """

    frame_index: int
    pts_seconds: float


@runtime_checkable
class ResumableSource(Protocol):
    """A source that may begin in the middle."""

    def resume_near(self, point: ResumePoint, *, warm_up_seconds: float) -> None:
        """Begin at least so long before this picture, if that is possible; called before it is opened."""
        ...


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where to read from.

    Attributes:
        point: the picture that is known.
        seek_to: for `InputContainer.seek`, in the stream's time base.
        stamp_seconds: of the key frame there.
        frame_index: of the key frame.
    """

    point: ResumePoint
    seek_to: int
    stamp_seconds: float
    frame_index: int

    def is_before(self, stamp_seconds: float | None) -> bool:
        """Whether a picture comes before the key frame, and so depends on what was not read."""
        return stamp_seconds is not None and stamp_seconds < self.stamp_seconds - _TOLERANCE_SECONDS

    def is_point(self, pts_seconds: float) -> bool:
        """Whether a picture is the one that is known."""
        return abs(pts_seconds - self.point.pts_seconds) <= _TOLERANCE_SECONDS


def find_beginning(
    container: InputContainer, stream: VideoStream, *, point: ResumePoint, zero_seconds: float, warm_up_seconds: float
) -> Beginning | None:
    """The last key frame that is `warm_up_seconds` before a picture; None where a whole run must be repeated.

    Moves the container's position.

    Args:
        container: the file.
        stream: its video.
        point: the picture.
        zero_seconds: stamp of time 0.
        warm_up_seconds: how long before it.
    """
    time_base = stream.time_base
    from_seconds = point.pts_seconds - warm_up_seconds
    if time_base is None or from_seconds <= 0:
        return None
    point_seconds = point.pts_seconds + zero_seconds
    tolerance = max(_TOLERANCE_SECONDS, 0.6 * float(time_base))
    stamps: list[float] = []
    seek_to = 0
    for earlier_seconds in _EARLIER_SECONDS:  # without an index, FFmpeg lands anywhere near
        seek_to = int((from_seconds - earlier_seconds + zero_seconds) / time_base)
        try:
            container.seek(seek_to, stream=stream)
            stamps = _stamps_until(
                point_seconds, from_seconds=from_seconds + zero_seconds, container=container, stream=stream
            )
        except (FFmpegError, ValueError):
            return None
        if stamps and stamps[0] <= from_seconds + zero_seconds + tolerance:
            break
    else:
        return None
    before = [stamp for stamp in stamps if stamps[0] <= stamp <= point_seconds + tolerance]
    if abs(max(before) - point_seconds) > tolerance or len(set(before)) < len(before):
        return None
    frame_index = point.frame_index - len(before) + 1
    return Beginning(point, seek_to, stamps[0], frame_index) if frame_index > 0 else None


def _stamps_until(
    point_seconds: float, *, from_seconds: float, container: InputContainer, stream: VideoStream
) -> list[float]:
    """Stamps of the pictures from the last key frame before a time, else the first after it, until all that are shown
    before another one; empty where a picture has no stamp, or the stamps begin again."""
    stamps: list[float] = []
    newest_key_stamp = -math.inf
    for number, packet in enumerate(container.demux()):
        if packet.stream is not stream or packet.is_discard or (not stamps and not packet.is_keyframe):
            continue
        if packet.size == 0:
            return stamps
        if packet.pts is None or packet.time_base is None or packet.is_corrupt or number > _MAX_PACKETS:
            return []
        stamp = float(packet.pts * packet.time_base)
        if packet.is_keyframe and stamp < newest_key_stamp:
            return []
        if packet.is_keyframe:
            newest_key_stamp = stamp
        if packet.is_keyframe and stamp <= from_seconds:
            stamps.clear()
        stamps.append(stamp)
        decoded_at = packet.pts if packet.dts is None else packet.dts
        if float(decoded_at * packet.time_base) > point_seconds + _LATER_SECONDS:
            return stamps
    return stamps
