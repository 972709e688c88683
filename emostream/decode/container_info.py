"""What an open container says of its videos, and which of them is read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import cast

import av
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition
from av.video.stream import VideoStream

from emostream.decode.formats.file_structure import FileStructure
from emostream.decode.formats.system_clock import MAX_GAP_SECONDS, ClockLength
from emostream.decode.source import SourceInfo
from emostream.decode.video_track import VideoTrack
from emostream.domain.stream import StreamKind
from emostream.errors import SourceRejectedError, SourceUnavailableError

_NOT_A_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
_TEXT_ART_CODECS = frozenset({"ansi", "bintext", "idf", "xbin"})  # FFmpeg "plays" any .txt file
# Of pictures that may be in tiles, of which FFmpeg would give one. Sequences (`avis`, `hevc`, `msf1`) are videos.
_STILL_BRANDS = frozenset({"heic", "heix", "heim", "heis", "mif1", "mif2", "miaf", "avif"})
_DURATION_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_CODECS_WITHOUT_RATE = frozenset({"mjpeg", "jpegls"})
_SEGMENTED_FORMATS = frozenset({"hls", "dash"})
# Streams appear in these as their packets come; a playlist may be empty at first.
_FORMATS_THAT_GROW = _SEGMENTED_FORMATS | {"mpegts", "flv", "live_flv"}
_UNINDEXED_FORMATS = frozenset({"mpegts", "mpeg"})
_CLOCKED_FORMATS = _UNINDEXED_FORMATS | {"hls"}  # their clock does not stand still, and may begin again
# After a seek FFmpeg counts recordings of Dahua from elsewhere, and ends at the end of a part of an Ogg file.
_FORMATS_WITH_OTHER_STAMPS = frozenset({"dhav", "ogg"})
_MIN_BITS_PER_SECOND = 16_000  # the tables and clock of a transport stream alone have more
_MAX_FILE_GAP_SECONDS, _MAX_LIVE_GAP_SECONDS = 86_400.0, 10.0  # a file may pause over night
_FORMATS_OF_PICTURES = frozenset({"image2", "image2pipe", "mjpeg", "mpjpeg", "apng", "gif"})


def video_streams(container: InputContainer, *, name: str, kind: StreamKind) -> list[VideoStream]:
    """The videos that can be read, without cover pictures; at least one.

    Raises:
        SourceRejectedError: there is none.
        SourceUnavailableError: there is none yet.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & _NOT_A_VIDEO]
    decodable = [
        stream
        for stream in streams
        if stream.codec_context is not None and stream.codec_context.name not in _TEXT_ART_CODECS
    ]
    if not decodable:
        if streams and streams[0].codec_context is None:
            raise SourceRejectedError(f"{name}: there is no decoder for the codec of its video; convert it to H.264")
        got = "text" if streams else "sound" if container.streams.audio else f"format {container.format.name!r}"
        if kind is StreamKind.LIVE and not streams and container.format.name in _FORMATS_THAT_GROW:
            raise SourceUnavailableError(f"{name}: there is no video in it yet, got only {got}")
        raise SourceRejectedError(f"{name}: expected a video or picture, got only {got}")
    if decodable[0].codec_context.name == "tiff" or container.metadata.get("major_brand", "") in _STILL_BRANDS:
        raise SourceRejectedError(
            f"{name}: TIFF, HEIC and AVIF are read as pictures only (emostream classify FILE, POST /v1/images with the "
            "picture as its body); convert it to JPEG or PNG"
        )
    return decodable


def is_misread(container: InputContainer, *, kind: StreamKind) -> bool:
    """Whether these are JPEGs that FFmpeg's choice of reader does not find.

    `mjpeg` finds them in whatever stands around them, but gives each only when the next one begins. The reader of
    multipart streams wants parts of exactly `image/jpeg`; that of pictures takes all for one picture.
    """
    name, video = container.format.name, container.streams.video
    is_odd_multipart = name == "mpjpeg" and bool(video) and not video[0].codec_context.width
    return is_odd_multipart or (name == "jpeg_pipe" and kind is StreamKind.LIVE and container.size <= 0)


def track_of(stream: VideoStream) -> VideoTrack:
    """What decides whether this video is the one to read."""
    context = stream.codec_context
    return VideoTrack(
        index=stream.index,
        codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        is_default=bool(stream.disposition & Disposition.default),
        num_frames=1 if stream.disposition & Disposition.still_image else stream.frames,
        bit_rate=int(stream.metadata.get("variant_bitrate", "") or context.bit_rate or 0),
    )


def has_stamps(container: InputContainer) -> bool:
    """Whether the format has time stamps; FFmpeg makes them up for raw streams and multipart pictures."""
    return not container.format.flags & cast(int, Flags.no_timestamps.value)


def is_segmented(container: InputContainer) -> bool:
    """Whether it arrives in segments of several seconds."""
    return container.format.name in _SEGMENTED_FORMATS


def start_seconds_of(container: InputContainer) -> float | None:
    """The stamp of the first picture or sound; None where the format has no stamps."""
    if container.start_time is None or not has_stamps(container):
        return None
    return container.start_time / av.time_base


def video_end_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """The stamp of the end of the video, where the header says it of the video alone; None else.

    Matroska has it in a tag of the track, and FLV in its header for all tracks together. The durations of other formats
    are made up by FFmpeg, or bounds of their own say where the file was cut.
    """
    if not container.format.name.startswith(("matroska", "flv")):
        return None
    if match := _DURATION_TAG.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = (float(part) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds
    if len(container.streams) > 1 or container.duration is None:
        return None
    return ((container.start_time or 0) + container.duration) / av.time_base


def max_gap_seconds(container: InputContainer, *, kind: StreamKind) -> float:
    """A step of the stamps that is longer is no pause, but another time line."""
    if kind is StreamKind.LIVE:
        return _MAX_LIVE_GAP_SECONDS
    return MAX_GAP_SECONDS if container.format.name in _CLOCKED_FORMATS else _MAX_FILE_GAP_SECONDS


def may_seek(container: InputContainer, structure: FileStructure) -> bool:
    """Whether a stamp names one place of the file, before and after it was sought."""
    name, clock = container.format.name, structure.clock
    if name in _FORMATS_WITH_OTHER_STAMPS or structure.is_put_together:
        return False
    return name not in _CLOCKED_FORMATS or (clock is not None and not clock.has_jumps)


def _seconds_of(container: InputContainer, clock: ClockLength | None) -> float | None:
    if clock is not None and clock.has_jumps:
        return clock.seconds
    # Of files without an index that are not looked into, FFmpeg subtracts the first stamp from the last one.
    if container.format.name in _UNINDEXED_FORMATS and 0 < container.bit_rate < _MIN_BITS_PER_SECOND:
        return None
    if not container.duration:
        return None
    # Some writers of Matroska count from 0, also where the first stamp is the hours that a camera has been running.
    start = container.start_time or 0
    counts_from_0 = container.format.name.startswith("matroska") and start < container.duration < 2 * start
    return (container.duration - start * counts_from_0) / av.time_base


def describe(
    container: InputContainer, stream: VideoStream, *, kind: StreamKind, clock: ClockLength | None = None
) -> SourceInfo:
    """What is known before the first picture; by the clock of the file, where it was read."""
    context = stream.codec_context
    is_file = kind is StreamKind.FILE
    seconds = _seconds_of(container, clock) if is_file else None
    declared_fps = _declared_fps(container, stream)
    estimate = round(seconds * declared_fps) if seconds and declared_fps else None
    return SourceInfo(
        width=context.width,
        height=context.height,
        codec=context.codec.canonical_name,
        decoder=context.codec.name,
        declared_fps=declared_fps,
        duration_seconds=seconds,
        num_frames=(stream.frames or estimate) if is_file else None,
        has_audio=bool(container.streams.audio),
    )


def _declared_fps(container: InputContainer, stream: VideoStream) -> float | None:
    # The average rate of a raw stream is FFmpeg's own 25; what is guessed comes from the headers of the codec.
    if not has_stamps(container) and stream.codec_context.name in _CODECS_WITHOUT_RATE:
        return None
    average, guessed = stream.average_rate, stream.guessed_rate
    rate = average or guessed if has_stamps(container) else guessed or average
    return float(rate) if rate and 0 < rate <= 1000 else None


def upright(info: SourceInfo, shape: tuple[int, ...], *, zero_seconds: float | None, pixel_aspect: float) -> SourceInfo:
    """With what is known only from the first picture; its upright shape is H×W."""
    height, width = shape
    return replace(info, width=width, height=height, zero_seconds=zero_seconds, pixel_aspect=pixel_aspect)


def says_pixel_aspect(container: InputContainer) -> bool:
    """Whether the pixel shape in the container is meant for display; in still pictures it is meant for print."""
    name = container.format.name
    return not name.endswith("_pipe") and name not in _FORMATS_OF_PICTURES
