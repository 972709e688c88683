"""Which of several video tracks is read, and the notice about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emostream.decode.formats.picture_structure import PICTURE_CODECS

_MAX_TOLD = 6  # a ladder of qualities may have dozens


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """What a container says of a video track.

    Attributes:
        index: of the stream in the container.
        codec: FFmpeg's name.
        width, height: pixels.
        is_default: whether it is marked as the one to show.
        num_frames: declared; 0 when unknown.
        bit_rate: bits per second; 0 when unknown.
    """

    index: int
    codec: str
    width: int
    height: int
    is_default: bool = False
    num_frames: int = 0
    bit_rate: int = 0

    @property
    def is_still(self) -> bool:
        """Whether it is one picture (a thumbnail, a poster), as far as the container says."""
        return self.num_frames == 1 or (self.num_frames == 0 and self.codec in PICTURE_CODECS)


def choose_track(tracks: Sequence[VideoTrack]) -> VideoTrack:
    """A video before a still picture, the default before others, then the most pixels and bits, then the first.

    >>> thumbnail = VideoTrack(0, "mjpeg", 1280, 720, is_default=True, num_frames=1)
    >>> choose_track([thumbnail, VideoTrack(1, "h264", 320, 180), VideoTrack(2, "h264", 640, 360)]).index
    2
    """
    return max(
        tracks,
        key=lambda track: (
            not track.is_still,
            track.is_default,
            track.width * track.height,
            track.bit_rate,
            -track.index,
        ),
    )


def told_of_tracks(tracks: Sequence[VideoTrack], chosen: VideoTrack) -> str:
    """A sentence where there are several videos to choose from; empty otherwise.

    >>> told_of_tracks([VideoTrack(0, "h264", 320, 180), VideoTrack(1, "h264", 640, 360, is_default=True)],
    ...     VideoTrack(1, "h264", 640, 360, is_default=True))
    'there are 2 video tracks (0: h264 320×180; 1: h264 640×360, default), track 1 is read'
    """
    if len(tracks) < 2:
        return ""
    more = "; …" if len(tracks) > _MAX_TOLD else ""
    return f"there are {len(tracks)} video tracks ({list_of_tracks(tracks)}{more}), track {chosen.index} is read"


def list_of_tracks(tracks: Sequence[VideoTrack]) -> str:
    """The first of them, for messages."""
    return "; ".join(
        f"{track.index}: {track.codec} {track.width}×{track.height}{', default' if track.is_default else ''}"
        f"{', one picture' if track.is_still else ''}"
        for track in tracks[:_MAX_TOLD]
    )
