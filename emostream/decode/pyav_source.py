"""Frames from anything PyAV opens: files, HTTP(S), HLS, RTSP. The door of `av` (`av_errors.py` knows its errors)."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, cast

import av
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from emostream.config import DecodeSettings
from emostream.decode.av_errors import source_error
from emostream.decode.corruption import CorruptionLimit, check_file_end, decodable_packets
from emostream.decode.formats.picture_structure import PICTURE_CODECS
from emostream.decode.gaps import GapMeter
from emostream.decode.hardware import decoder_name, hardware_of, usable_hardware
from emostream.decode.location import Location, parse_location
from emostream.decode.pixels import PictureReader
from emostream.decode.remote_file import is_remote, open_remote
from emostream.decode.sampling import FrameSampler
from emostream.decode.source import DecodeStats, SourceInfo
from emostream.decode.timestamps import SourceClock
from emostream.decode.video_track import VideoTrack, choose_track, told_of_tracks
from emostream.domain.frame import Frame
from emostream.domain.redact import shown_address
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import (
    DecodeError,
    SourceCutShortError,
    SourceError,
    SourceRejectedError,
    SourceTimeoutError,
    SourceUnavailableError,
)

logger = logging.getLogger(__name__)

_MAX_GAP_SECONDS = {StreamKind.FILE: 86_400.0, StreamKind.LIVE: 10.0}  # a file may pause over night
_NOT_A_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
# Side data of PNG pictures with a colour profile must not be touched: PyAV 18 frees its metadata twice, which ends the
# process. Their orientation can only stand in EXIF anyway.
_CODECS_WITHOUT_SIDE_DATA = frozenset({"png", "apng"})
# FFmpeg reads 20 frames before it says how many come in a second. A camera's frames have their times, and would be
# 0.8 s old by then: of eight RTSP cameras each lost 10 to 19 frames while it was opened.
_LIVE_PROBING = {"fpsprobesize": "0"}
_TEXT_ART_CODECS = frozenset({"ansi", "bintext", "idf", "xbin"})  # FFmpeg "plays" any .txt file
# Of pictures that may be in tiles, of which FFmpeg would give one. Sequences (`avis`, `hevc`, `msf1`) are videos.
_STILL_BRANDS = frozenset({"heic", "heix", "heim", "heis", "mif1", "mif2", "miaf", "avif"})


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PyAVSource:
    """A `FrameSource` on PyAV.

    A blocked read cannot be interrupted from outside: after `close` from another thread it ends with its read time-out
    at the latest, and then releases what `close` could not.

    Args:
        spec: what to read, and which frames of it.
        settings: time-outs and limits.
        is_picture: it is one picture, which is refused where it is damaged; of videos, damaged pictures are shown.
        now: the clock for `captured_at`.
    """

    def __init__(
        self,
        spec: StreamSpec,
        *,
        settings: DecodeSettings,
        is_picture: bool = False,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._spec = spec
        self._is_picture = is_picture
        self._settings = settings
        self._now = now
        self._name = shown_address(spec.url)
        self._stats = DecodeStats()
        self._corruption = CorruptionLimit(
            max_in_a_row=settings.max_corrupt_in_a_row, name=self._name, kind=spec.kind, stats=self._stats
        )
        self._lock = threading.Lock()  # held while FFmpeg works on the container
        self._is_closed = False
        self._container: InputContainer | None = None
        self._file: BinaryIO | None = None
        self._info: SourceInfo | None = None
        self._first: VideoFrame | None = None
        self._packet: Packet[VideoStream] | None = None
        self._num_read = 0  # packets of the video
        self._declared_seconds: float | None = None
        self._gaps: GapMeter | None = None
        self._decode_seconds = 0.0  # of the picture that came last
        self._decoder = ""  # known from the first picture on
        self._zero_at_microseconds: int | None = (
            None  # when, by the source's clock, time stamp 0 was; RTSP tells it late
        )

    @property
    def kind(self) -> StreamKind:
        """Live or file, as the spec says."""
        return self._spec.kind

    @property
    def info(self) -> SourceInfo:
        """What the source says of itself; the size of live sources is that before any rotation."""
        if self._info is None:
            raise RuntimeError("expected an open source: use it in a `with` statement")
        return replace(self._info, decoder=self._decoder) if self._decoder else self._info

    @property
    def stats(self) -> DecodeStats:
        """Counters so far."""
        return self._stats

    @property
    def num_discontinuities(self) -> int:
        """How often the source's clock jumped so far; a live source may start a new epoch then."""
        return 0 if self._info is None else self._clock.num_discontinuities

    def __enter__(self) -> Self:
        """Open; decodes the first picture of a file already, because only that tells its rotation."""
        try:
            self._location = parse_location(self._spec.url, settings=self._settings)
            self._hardware = usable_hardware(self._settings.hwaccel)
            info = self._open(self._location)
            self._pictures = self._decode()
            if self.kind is StreamKind.FILE and not self._is_closed:
                self._first = next(self._pictures, None)
                if self._first is None:
                    raise SourceRejectedError(
                        f"{self._name}: expected a video or picture, got no picture that can be decoded: damaged, "
                        "in a format that FFmpeg does not know, or of more than "
                        f"{self._settings.max_frame_pixels} pixels (decode.max_frame_pixels)"
                    )
                pixels = self._reader.read(self._first, load_packet=self._load_packet).luma
                info = _upright(info, pixels.shape, zero_seconds=self._first.time)
            self._info = info
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Release everything, now or when a read in another thread ends. Safe to call twice and from any thread."""
        self._is_closed = True
        self._release_if_closed()

    def _release_if_closed(self) -> None:
        # `close` sets the flag, then tries the lock; readers give the lock back, then look at the flag. So one of them
        # gets here with the lock free, and FFmpeg never works on a released container.
        if self._is_closed and self._lock.acquire(blocking=False):
            try:
                container, self._container = self._container, None
                file, self._file = self._file, None
                if container is not None:
                    container.close()
                if file is not None:
                    file.close()
            finally:
                self._lock.release()

    def _open(self, location: Location) -> SourceInfo:
        settings = self._settings
        max_pixels = {"max_pixels": str(settings.max_frame_pixels)}
        probing = _LIVE_PROBING if self.kind is StreamKind.LIVE else {}
        timeout = (settings.open_timeout_seconds, settings.read_timeout_seconds) if location.is_network else None
        started = time.monotonic()
        try:
            with self._lock:
                self._file = open_remote(location.address) if is_remote(location.address) else None
                opened: Any = av.open(
                    self._file or location.address,
                    format=location.format,
                    options=location.options | max_pixels | probing,
                    timeout=timeout,
                    metadata_errors="replace",
                    hwaccel=hardware_of(self._hardware),
                )
                self._container = container = cast(InputContainer, opened)
                stream, notice = self._choose(container)
                self._check_size(stream.codec_context.width, stream.codec_context.height)
                self._reader = PictureReader(
                    VideoReformatter, reads_side_data=stream.codec_context.name not in _CODECS_WITHOUT_SIDE_DATA
                )
                # FFmpeg makes gray of what is missing of a JPEG, unless it is told to give up.
                is_strict = self._is_picture and stream.codec_context.name in PICTURE_CODECS
                stream.codec_context.options = max_pixels | ({"err_detect": "explode"} if is_strict else {})
                stream.codec_context.thread_type = "AUTO" if self.kind is StreamKind.FILE else "SLICE"
                stream.codec_context.thread_count = settings.num_threads
                info = replace(_describe(container, stream, kind=self.kind), notice=notice)
                self._declared_num_packets = stream.frames
                self._declared_seconds = info.duration_seconds
                self._gaps = GapMeter() if container.format.name == "hls" else None
                self._stream = stream
                self._time_base = stream.time_base
                self._demuxed = container.demux()
        except FFmpegError as exc:
            raise self._translated(exc, doing="open", started=started) from exc
        finally:
            self._release_if_closed()
        self._clock = SourceClock(declared_fps=info.declared_fps, max_gap_seconds=_MAX_GAP_SECONDS[self.kind])
        return info

    def _choose(self, container: InputContainer) -> tuple[VideoStream, str]:
        """The video to read and what is said of the choice; all other streams are told not to be read."""
        streams = {stream.index: stream for stream in _video_streams(container, name=self._name)}
        tracks = [_track_of(stream) for stream in streams.values()]
        chosen = choose_track(tracks)
        if told := told_of_tracks(tracks, chosen):
            logger.warning("%s: %s", self._name, told)
        for other in container.streams:
            if other.index != chosen.index:
                other.discard = Discard.all
        return streams[chosen.index], told

    def _translated(self, exc: FFmpegError, *, doing: Literal["open", "read"], started: float) -> SourceError:
        settings = self._settings
        timeout_seconds = settings.open_timeout_seconds if doing == "open" else settings.read_timeout_seconds
        error = source_error(
            exc,
            name=self._name,
            doing=doing,
            kind=self.kind,
            timeout_seconds=timeout_seconds if self._location.is_network else None,
            waited_seconds=time.monotonic() - started,
        )
        return error.saying(f"{error}{self._location.hint}")

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._settings.max_frame_pixels:
            raise SourceRejectedError(
                f"{self._name}: pictures have {width}×{height} pixels, at most {self._settings.max_frame_pixels} are "
                "accepted; give a smaller video or raise decode.max_frame_pixels"
            )

    def __iter__(self) -> Iterator[Frame]:
        """Runs in the decode thread, once."""
        spec, stats = self._spec, self._stats
        sampler = FrameSampler(every=spec.every, target_fps=spec.target_fps)
        num_yielded = 0
        for picture in self._all_pictures():
            frame_index = stats.num_decoded
            stats.num_decoded += 1
            pts_seconds = self._clock.advance(picture.time)
            if self._zero_at_microseconds is not None and picture.time is not None:
                taken_seconds = self._zero_at_microseconds / 1e6 + picture.time
                stats.source_delay_seconds = self._now().timestamp() - taken_seconds
            if not sampler.keep(pts_seconds):
                stats.num_skipped += 1
                continue
            yield self._frame(picture, frame_index=frame_index, pts_seconds=pts_seconds)
            num_yielded += 1
            if num_yielded == spec.max_frames:
                return

    def _all_pictures(self) -> Iterator[VideoFrame]:
        first, self._first = self._first, None
        if first is not None:
            yield first
            del first  # its buffer goes back to the decoder
        yield from self._pictures

    def _frame(self, picture: VideoFrame, *, frame_index: int, pts_seconds: float) -> Frame:
        self._check_size(picture.width, picture.height)
        try:
            pixels = self._reader.read(picture, load_packet=self._load_packet)
        except FFmpegError as exc:
            pixel_format = picture.format.name
            raise SourceRejectedError(f"{self._name}: cannot convert pixel format {pixel_format} to gray") from exc
        return Frame(
            stream_id=self._spec.stream_id,
            frame_index=frame_index,
            pts_seconds=pts_seconds,
            captured_at=self._now(),
            luma=pixels.luma,
            is_full_range=pixels.is_full_range,
            decode_seconds=self._decode_seconds,
            load_rgb=pixels.load_rgb,
        )

    def _load_packet(self) -> bytes:
        return b"" if self._packet is None else bytes(self._packet)

    def _decode(self) -> Iterator[VideoFrame]:
        stats, context = self._stats, self._stream.codec_context
        for packet in decodable_packets(self._packets(), kind=self.kind, stats=stats):
            started = time.perf_counter()
            if packet.size:  # not the empty one that flushes the decoder
                self._packet = packet
            try:
                pictures = packet.decode()
            except FFmpegError as exc:
                self._check_size(context.width, context.height)  # one that outgrew max_pixels in the middle
                self._corruption.failed(exc)
                continue
            finally:
                self._decode_seconds = time.perf_counter() - started
                stats.decode_seconds += self._decode_seconds
            for picture in pictures:
                self._decoder = self._decoder or decoder_name(context.name, self._hardware, picture)
                self._corruption.picture_decoded()
                stats.num_corrupt += picture.is_corrupt
                yield picture

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Complete and damaged packets of the video, then an empty one; over parts that cannot be read.

        All streams are demuxed: PyAV skips those that were not asked for in a loop of its own, whose time-out begins
        again with each packet and which `close` cannot get into. So a camera whose picture stops while its sound or
        metadata goes on would be read for ever.
        """
        picture_at = time.monotonic()
        while True:
            started = time.monotonic()
            try:
                with self._lock:
                    if self._container is None or self._is_closed:
                        break
                    packet = _next_packet(self._demuxed)
                    self._zero_at_microseconds = self._container.start_time_realtime
                    if packet is None:
                        self._check_end(self._container)
                        break
            except InvalidDataError as exc:
                self._corruption.failed(exc)
                with self._lock:  # an error ends the iterator, not the source
                    if self._container is not None:
                        self._demuxed = self._container.demux()
                continue
            except FFmpegError as exc:
                error = self._error_unless_end(exc, started=started)
                yield self._flush_packet()  # pictures the decoder still holds are good
                if error is None:
                    break
                raise error from exc
            finally:
                self._release_if_closed()
            self._note_gap(packet)
            if packet.stream is self._stream:
                self._num_read += packet.size > 0
                yield cast("Packet[VideoStream]", packet)
                picture_at = time.monotonic()  # not before: the consumer may take its time
            elif self._is_stopped(since=picture_at):
                yield self._flush_packet()
                raise SourceTimeoutError(
                    f"{self._name}: no picture came within {self._settings.read_timeout_seconds:g} s, but sound or "
                    "other data; the source is opened again"
                )

    def _note_gap(self, packet: Packet[Stream]) -> None:
        if self._gaps is None or packet.dts is None or packet.time_base is None:
            return
        at_seconds = float(packet.dts * packet.time_base)
        if packet.stream is not self._stream:
            self._gaps.add_other(at_seconds, float((packet.duration or 0) * packet.time_base))
            return
        gap_seconds = self._gaps.add_picture(at_seconds, is_key=packet.is_keyframe)
        if gap_seconds and self.kind is StreamKind.LIVE:  # a file is judged at its end, by its declared length
            self._stats.num_corrupt += round(gap_seconds / self._gaps.interval_seconds)
            logger.warning(
                "%s: %.1f s of the picture are missing: segments of its playlist could not be read",
                self._name,
                gap_seconds,
            )

    def _check_gaps(self) -> None:
        """Raises `DecodeError` where segments of a playlist that ended are missing."""
        if self._gaps is None:
            return
        declared_seconds = self._declared_seconds
        missing_seconds = self._gaps.missing_seconds(declared_seconds=declared_seconds)
        if missing_seconds:
            num_missing = round(missing_seconds / self._gaps.interval_seconds)
            self._stats.num_corrupt += num_missing
            declared = "" if declared_seconds is None else f" of declared {declared_seconds:.1f} s"
            raise DecodeError(
                f"{self._name}: {missing_seconds:.1f} s{declared} are missing, about {num_missing} pictures: segments "
                "of its playlist could not be read; the pictures that came are good, give the complete playlist"
            )

    def _error_unless_end(self, exc: FFmpegError, *, started: float) -> SourceError | None:
        """What an error of a read means; None where it is how FFmpeg ends an HTTP body that declared no length."""
        with self._lock:
            container = self._container
            if container is None or self.kind is StreamKind.LIVE or not self._location.is_http:
                return self._translated(exc, doing="read", started=started)
            num_bytes = container.size
            if exc.errno == errno.EIO and num_bytes <= 0:
                try:
                    self._check_end(container)
                except SourceError as error:
                    return error
                return None
        if exc.errno in (errno.EIO, errno.ECONNRESET) and num_bytes > 0:
            return SourceCutShortError(
                f"{self._name}: the connection ended before the declared {num_bytes} bytes had come; the pictures "
                "before are good, try again for the rest"
            )
        return self._translated(exc, doing="read", started=started)

    def _is_stopped(self, *, since: float) -> bool:
        """Whether the picture of a live source is overdue; in files, other streams may go on for as long as they do."""
        return self.kind is StreamKind.LIVE and time.monotonic() - since > self._settings.read_timeout_seconds

    def _flush_packet(self) -> Packet[VideoStream]:
        packet: Any = Packet()
        packet.stream, packet.time_base = self._stream, self._time_base
        return cast("Packet[VideoStream]", packet)

    def _check_end(self, container: InputContainer) -> None:
        if self.kind is StreamKind.LIVE and not self._location.is_standard_input:
            raise SourceUnavailableError(f"{self._name}: the source ended; it is opened again")
        self._check_gaps()
        check_file_end(
            name=self._name,
            structure=self._location.structure,
            is_index_beyond_end=self._is_index_beyond_end(container),
            declared_num_packets=self._declared_num_packets,
            reached_seconds=self._clock.next_seconds,
            declared_seconds=self._declared_seconds,
            stats=self._stats,
        )

    def _is_index_beyond_end(self, container: InputContainer) -> bool:
        index = self._stream.index_entries
        if not len(index):
            return False
        if self._location.is_http and container.format.name.startswith("mov"):  # its index names every packet
            return self._num_read < len(index)
        return 0 < container.size < index[-1].pos + index[-1].size


def _next_packet(demuxed: Iterator[Packet[Stream]]) -> Packet[Stream] | None:
    try:
        return next(demuxed, None)
    except IndexError:
        # PyAV 18 at the end of a source in which streams appeared after opening (MPEG-TS): it flushes streams it does
        # not know. Their numbers are higher than ours, so our own flush packet has come before.
        return None


def _video_streams(container: InputContainer, *, name: str) -> list[VideoStream]:
    """The videos that can be read, without cover pictures; at least one."""
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
        raise SourceRejectedError(f"{name}: expected a video or picture, got only {got}")
    if decodable[0].codec_context.name == "tiff" or container.metadata.get("major_brand", "") in _STILL_BRANDS:
        raise SourceRejectedError(
            f"{name}: TIFF, HEIC and AVIF are read as pictures only (emostream classify FILE, POST /v1/images with the "
            "picture as its body); convert it to JPEG or PNG"
        )
    return decodable


def _track_of(stream: VideoStream) -> VideoTrack:
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


def _describe(container: InputContainer, stream: VideoStream, *, kind: StreamKind) -> SourceInfo:
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate
    declared_fps = float(rate) if rate and 0 < rate <= 1000 else None
    is_file = kind is StreamKind.FILE
    seconds = container.duration / av.time_base if is_file and container.duration else None
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
        pixel_aspect=stream.sample_aspect_ratio or Fraction(1),
    )


def _upright(info: SourceInfo, shape: tuple[int, ...], *, zero_seconds: float | None) -> SourceInfo:
    """With what only the first picture tells; its upright shape is H×W."""
    height, width = shape
    is_turned = (width, height) == (info.height, info.width) and width != height
    aspect = 1 / info.pixel_aspect if is_turned else info.pixel_aspect
    return replace(info, width=width, height=height, zero_seconds=zero_seconds, pixel_aspect=aspect)
