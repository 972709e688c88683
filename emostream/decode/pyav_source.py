"""Frames from anything PyAV opens: files, HTTP(S), HLS, RTSP."""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, cast

import av
from av.container import InputContainer
from av.error import FFmpegError, HTTPUnauthorizedError, InvalidDataError
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from emostream.config import DecodeSettings
from emostream.decode.av_errors import UNREADABLE, source_error
from emostream.decode.container_info import (
    describe,
    has_stamps,
    is_misread,
    is_segmented,
    max_gap_seconds,
    may_seek,
    says_pixel_aspect,
    start_seconds_of,
    track_of,
    upright,
    video_streams,
)
from emostream.decode.corruption import CorruptionLimit, decodable_packets
from emostream.decode.diagnosis import reader_of, said_by_ffmpeg, why_login_failed, why_unreadable
from emostream.decode.formats.cropping import NOTHING_CROPPED, Cropping, croppings_in_matroska
from emostream.decode.formats.picture_structure import PICTURE_CODECS
from emostream.decode.hardware import decoder_name, hardware_of, usable_hardware
from emostream.decode.location import Location, parse_location
from emostream.decode.open_container import OpenContainer
from emostream.decode.packet_reader import PacketReader
from emostream.decode.pixel_aspect import believed_aspect, in_square_pixels, told_of_aspect
from emostream.decode.pixels import PictureReader
from emostream.decode.release import ReleaseClock
from emostream.decode.remote_file import is_remote, open_remote
from emostream.decode.resuming import Beginning, ResumePoint, find_beginning
from emostream.decode.rtsp_login import offers_of, relay_without_unknown_offers, unknown_algorithm
from emostream.decode.sampling import FrameSampler
from emostream.decode.skipping import KeyFrames, UnwantedPictures
from emostream.decode.source import DecodeStats, SourceInfo
from emostream.decode.timeline import SEGMENT_SLACK_SECONDS, FileTimeline, LiveTimeline
from emostream.decode.video_track import choose_track, list_of_tracks, told_of_tracks
from emostream.domain.address import parse_address
from emostream.domain.frame import Frame
from emostream.domain.redact import shown_address
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceError, SourceRejectedError, SourceTimeoutError

logger = logging.getLogger(__name__)

# Side data of PNG pictures with a colour profile must not be touched: PyAV 18 frees its metadata twice, which ends the
# process. Their orientation can only stand in EXIF anyway.
_CODECS_WITHOUT_SIDE_DATA = frozenset({"png", "apng"})
# Containers whose packets have the stamps of their pictures, checked when they were written.
_STAMPED_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})
# FLV does not say which streams it has: FFmpeg would wait 5 s for sound, and pictures would be as old.
_FLV_PROBING = {"analyzeduration": "1500000"}
_ANYWHERE = "mjpeg"  # the reader that finds JPEGs whatever stands around them
# Microseconds: its first pictures say all, and by default it would wait for some fifty.
_MJPEG_PROBING = {"analyzeduration": "200000"}
# FFmpeg reads 20 frames before it says how many come in a second. A camera's frames have their times, and would be
# 0.8 s old by then: of eight RTSP cameras each lost 10 to 19 frames while it was opened.
_LIVE_PROBING = {"fpsprobesize": "0"}


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PyAVSource:
    """A `FrameSource` on PyAV.

    A blocked read cannot be interrupted from outside: after `close` from another thread it ends with its read time-out
    at the latest, and then releases what `close` could not (`OpenContainer`).

    Args:
        spec: what to read, and which frames of it.
        settings: time-outs and limits.
        is_picture: it is one picture, which is refused where it is damaged; of videos, damaged pictures are shown.
        finds_pictures_anywhere: it is a body with JPEGs, which are found whatever stands around them; each is read when
            the next one begins.
        now: the clock for `captured_at`.
    """

    def __init__(
        self,
        spec: StreamSpec,
        *,
        settings: DecodeSettings,
        is_picture: bool = False,
        finds_pictures_anywhere: bool = False,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._spec = spec
        self._is_picture = is_picture
        self._finds_pictures_anywhere = finds_pictures_anywhere
        self._settings = settings
        self._now = now
        self._name = shown_address(spec.url)
        self._stats = DecodeStats()
        self._corruption = CorruptionLimit(
            max_in_a_row=settings.max_corrupt_in_a_row, name=self._name, kind=spec.kind, stats=self._stats
        )
        self._opened = OpenContainer()
        self._info: SourceInfo | None = None
        self._first: tuple[VideoFrame, float] | None = None  # with its time
        self._before_first: list[tuple[None, float]] = []  # pictures that were not decoded, with their times
        self._packet: Packet[VideoStream] | None = None
        self._decode_seconds = 0.0  # of the picture that came last
        self._decoder = ""  # known from the first picture on
        self._coded_aspect: Fraction | None = None  # as the decoder read it last
        self._resume: tuple[ResumePoint, float] | None = None
        self._beginning: Beginning | None = None
        self._first_index = 0
        self._key_frames: KeyFrames | None = None  # where nothing else is wanted

    @property
    def kind(self) -> StreamKind:
        """Live or file, as the spec says."""
        return self._spec.kind

    @property
    def info(self) -> SourceInfo:
        """What the source says of itself; the size of live sources is that before any rotation."""
        if self._info is None:
            raise RuntimeError("expected an open source: use it in a `with` statement")
        info = replace(self._info, decoder=self._decoder) if self._decoder else self._info
        notice = self._clock_notice()
        return replace(info, notice=f"{info.notice}; {notice}" if info.notice else notice) if notice else info

    @property
    def stats(self) -> DecodeStats:
        """Counters so far."""
        return self._stats

    def resume_near(self, point: ResumePoint, *, warm_up_seconds: float) -> None:
        """See `ResumableSource.resume_near`."""
        if point.pts_seconds > warm_up_seconds and not self._spec.keyframes:  # they are read fast
            self._resume = point, warm_up_seconds

    @property
    def num_discontinuities(self) -> int:
        """How often the source's clock jumped so far; a live source may start a new epoch then."""
        return 0 if self._info is None else self._timeline.num_discontinuities

    @property
    def is_picture_of_known_size(self) -> bool:
        """Whether one picture is all that an HTTP server declares; to be asked once it is open, before iteration."""
        with self._opened.used() as container:
            return container is not None and container.size > 0 and self._packets.is_single_picture(container)

    def __enter__(self) -> Self:
        """Open; decodes the first picture of a file already, because its rotation is known only then."""
        try:
            self._location = parse_location(self._spec.url, settings=self._settings)
            self._hardware = usable_hardware(self._settings.hwaccel)
            info = self._open_to_first_picture()
            if self._resume is not None and self._first is not None and not self._begins_later(*self._resume):
                self._opened.reopen()
                info = self._open_to_first_picture()
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
        self._opened.close()

    def _open_to_first_picture(self) -> SourceInfo:
        info = self._open(self._location)
        key_frames = self._key_frames
        self._pictures = self._decode() if key_frames is None else self._decode_key_frames()
        if self.kind is not StreamKind.FILE or self._opened.is_closed:
            return info
        first = next((picture for picture in self._pictures if picture is not None), None)
        if first is None and self._key_frames is not None:
            raise SourceRejectedError(
                f"{self._name}: it has no key frame that is shown and can be decoded: leave out keyframes"
            )
        if first is None:
            raise SourceRejectedError(
                f"{self._name}: expected a video or picture, got no picture that can be decoded: damaged, "
                "in a format that FFmpeg does not know, or of more than "
                f"{self._settings.max_frame_pixels} pixels (decode.max_frame_pixels){self._said_by_ffmpeg()}"
            )
        if key_frames is not None and first.pts is not None:
            self._before_first = list(self._not_decoded(key_frames.passed(first.pts)))
        pts_seconds = self._time_of(first)
        self._first = (first, pts_seconds)
        pixels = self._reader.read(first, load_packet=self._load_packet)
        zero_seconds = None if first.time is None else first.time - pts_seconds
        aspect = self._pixel_aspect(is_turned=pixels.is_turned)
        return upright(info, pixels.luma.shape, zero_seconds=zero_seconds, pixel_aspect=aspect)

    def _begins_later(self, point: ResumePoint, warm_up_seconds: float) -> bool:
        """Read on shortly before a picture, where that keeps all numbers and times. Otherwise the container's position
        is lost."""
        assert self._first is not None  # noqa: S101  # for the type checker
        picture, pts_seconds = self._first
        if self._location.is_pipe or picture.time is None or not isinstance(self._timeline, FileTimeline):
            return False
        with self._opened.used() as container:
            if container is None:
                return True
            if not may_seek(container, self._location.structure):
                return False
            beginning = find_beginning(
                container,
                self._stream,
                point=point,
                zero_seconds=picture.time - pts_seconds,
                warm_up_seconds=warm_up_seconds,
            )
            if beginning is None:
                return False
            try:
                container.seek(beginning.seek_to, stream=self._stream)
            except FFmpegError:
                return False
            self._packets.restart(container, num_before=beginning.frame_index)
        self._beginning, self._first_index, self._first = beginning, beginning.frame_index, None
        self._pictures = self._decode()
        return True

    def _open(self, location: Location) -> SourceInfo:
        settings = self._settings
        max_pixels = {"max_pixels": str(settings.max_frame_pixels)}
        started = time.monotonic()
        opened = self._opened
        try:
            with opened.used():
                file = open_remote(location.address) if is_remote(location.address) else None
                opened.hold(file=file)
                container = self._open_container(location, file=file)
                stream, notice = self._choose(container)
                self._check_size(stream.codec_context.width, stream.codec_context.height)
                self._reader = PictureReader(
                    VideoReformatter,
                    reads_side_data=stream.codec_context.name not in _CODECS_WITHOUT_SIDE_DATA,
                    cropping=_cropping_of(container, stream, location=location, file=file),
                )
                # FFmpeg fills missing parts of a JPEG with gray, unless it is set to fail.
                is_strict = self._is_picture and stream.codec_context.name in PICTURE_CODECS
                stream.codec_context.options = max_pixels | ({"err_detect": "explode"} if is_strict else {})
                stream.codec_context.thread_type = "AUTO" if self.kind is StreamKind.FILE else "SLICE"
                stream.codec_context.thread_count = settings.num_threads
                self._stream = stream
                self._says_aspect = says_pixel_aspect(container)
                self._declared_aspect = stream.sample_aspect_ratio if self._says_aspect else None
                notices = [text for text in (notice, self._aspect_notice()) if text]
                info = replace(
                    describe(container, stream, kind=self.kind, clock=location.structure.clock),
                    notice="; ".join(notices),
                    pixel_aspect=self._pixel_aspect(is_turned=False),
                )
                self._release = ReleaseClock() if self.kind is StreamKind.LIVE and is_segmented(container) else None
                self._timeline = self._timeline_of(container, info, opened_seconds=started)
                self._key_frames = self._only_key_frames(container)
                self._unwanted = self._unwanted_pictures(container)
                self._packets = PacketReader(
                    opened,
                    container,
                    stream,
                    location=location,
                    kind=self.kind,
                    info=info,
                    read_timeout_seconds=settings.read_timeout_seconds,
                    stats=self._stats,
                    corruption=self._corruption,
                    translate=self._translated_reading,
                    reached_seconds=lambda: self._timeline.next_seconds,
                )
        except FFmpegError as exc:
            raise self._translated(exc, doing="open", started=started) from exc
        return info

    def _open_container(self, location: Location, *, file: BinaryIO | None) -> InputContainer:
        """With the reader that suits the content; called with the container in use."""
        settings = self._settings
        options = location.options | {"max_pixels": str(settings.max_frame_pixels)}
        if self.kind is StreamKind.LIVE:
            options |= _LIVE_PROBING | (_FLV_PROBING if location.is_flv else {})
        timeout = (settings.open_timeout_seconds, settings.read_timeout_seconds) if location.is_network else None

        def open_as(name: str | None, *, address: str = location.address) -> InputContainer:
            anything: Any = av.open(
                file or address,
                format=name,
                options=options | (_MJPEG_PROBING if name == _ANYWHERE else {}),
                timeout=timeout,
                metadata_errors="replace",
                hwaccel=hardware_of(self._hardware),
            )
            container = cast(InputContainer, anything)
            self._opened.hold(container)
            return container

        try:
            container = open_as(_ANYWHERE if self._finds_pictures_anywhere else location.format)
        except HTTPUnauthorizedError:
            relayed = self._relayed(location)
            if relayed is None:
                raise
            return open_as(location.format, address=relayed)
        except InvalidDataError:
            reader = reader_of(location, settings=settings)
            if reader is None:
                raise
            return open_as(reader)
        if is_misread(container, kind=self.kind):
            container.close()
            return open_as(_ANYWHERE)
        return container

    def _relayed(self, location: Location) -> str | None:
        """Where to open a camera that offers a login that FFmpeg knows among others; None where it does not."""
        given = parse_address(location.address)
        seconds = self._settings.open_timeout_seconds
        if given.scheme != "rtsp" or given.login is None or self._settings.rtsp_transport != "tcp":
            return None
        unknown = [bool(unknown_algorithm(offer)) for offer in offers_of(given, timeout_seconds=seconds)]
        if not any(unknown) or all(unknown):
            return None
        return relay_without_unknown_offers(given, timeout_seconds=seconds).url

    def _timeline_of(
        self, container: InputContainer, info: SourceInfo, *, opened_seconds: float
    ) -> FileTimeline | LiveTimeline:
        is_stamped = has_stamps(container)
        # Pictures without stamps, over the network and without an end that is known, come when they were taken.
        is_endless = not is_stamped and self._location.is_network and container.size <= 0
        if self.kind is StreamKind.LIVE or is_endless:
            return LiveTimeline(
                declared_fps=info.declared_fps,
                max_gap_seconds=max_gap_seconds(container, kind=StreamKind.LIVE),
                opened_seconds=opened_seconds,
                has_stamps=is_stamped,
                slack_seconds=SEGMENT_SLACK_SECONDS if is_segmented(container) else None,
            )
        return FileTimeline(
            declared_fps=info.declared_fps,
            max_gap_seconds=max_gap_seconds(container, kind=StreamKind.FILE),
            start_seconds=start_seconds_of(container),
            end_seconds=info.duration_seconds,
        )

    def _unwanted_pictures(self, container: InputContainer) -> UnwantedPictures | None:
        """For containers whose packets say when their picture is shown; None where all pictures are decoded."""
        spec = self._spec
        keeps_all = spec.every == 1 and spec.target_fps is None
        if self._resume is not None or spec.keyframes:  # of one that begins in the middle, places are not known
            return None
        if (
            keeps_all
            or not _is_stamped(container)
            or not isinstance(self._timeline, FileTimeline)
            or not self._stream.time_base
        ):
            return None
        time_base = float(self._stream.time_base)
        return UnwantedPictures(
            every=spec.every,
            target_fps=spec.target_fps,
            time_base=time_base,
            start_seconds=start_seconds_of(container) or 0.0,
        )

    def _only_key_frames(self, container: InputContainer) -> KeyFrames | None:
        """Tell the decoder to leave out all other pictures, where the spec wants that; before it decodes any."""
        if not self._spec.keyframes:
            return None
        if not _is_stamped(container) or not isinstance(self._timeline, FileTimeline) or not self._stream.time_base:
            raise SourceRejectedError(
                f"{self._name}: key frames alone are read of MP4, MOV, Matroska and WebM files, which number all "
                f"pictures; got {container.format.name}. Leave out keyframes; target_fps limits the frames as well"
            )
        self._stream.codec_context.skip_frame = "NONKEY"
        return KeyFrames()

    def _choose(self, container: InputContainer) -> tuple[VideoStream, str]:
        """The video to read and a notice about the choice; all other streams are discarded."""
        streams = {stream.index: stream for stream in video_streams(container, name=self._name, kind=self.kind)}
        tracks = [track_of(stream) for stream in streams.values()]
        wanted = self._spec.track
        chosen = choose_track(tracks) if wanted is None else next((t for t in tracks if t.index == wanted), None)
        if chosen is None:
            raise SourceRejectedError(
                f"{self._name}: there is no video track {wanted}; choose one of {list_of_tracks(tracks)}"
            )
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
        if reason := self._diagnosis(exc):
            return error.saying(f"cannot {doing} {self._name}: {reason}")
        is_unclear = self._is_unclear(exc) and not isinstance(error, SourceTimeoutError)
        said = self._said_by_ffmpeg() if is_unclear else ""
        return error.saying(f"{error}{said}{self._location.hint}")

    def _said_by_ffmpeg(self) -> str:
        line = "" if self._is_picture else said_by_ffmpeg(self._location, settings=self._settings)
        return f"; FFmpeg says: {line}" if line else ""

    def _diagnosis(self, exc: FFmpegError) -> str:
        """What the server says of an error that FFmpeg gives no reason for, before the first picture."""
        if self._info is not None or self._stats.num_packets:
            return ""
        if isinstance(exc, HTTPUnauthorizedError):
            return why_login_failed(self._location, settings=self._settings)
        return why_unreadable(self._location, settings=self._settings) if self._is_unclear(exc) else ""

    def _is_unclear(self, exc: FFmpegError) -> bool:
        """Whether an error before the first picture gives no reason."""
        if self._info is not None or self._stats.num_packets:
            return False
        return isinstance(exc, UNREADABLE) or exc.errno in (errno.EIO, errno.EINVAL)

    def _translated_reading(self, exc: FFmpegError, started: float) -> SourceError:
        return self._translated(exc, doing="read", started=started)

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
        for picture, pts_seconds in self._timed_pictures():
            if self._beginning is not None and self._beginning.is_point(pts_seconds):
                self._first_index = self._beginning.point.frame_index - stats.num_decoded  # the others were counted
            frame_index = self._first_index + stats.num_decoded
            stats.num_decoded += 1
            if picture is None:  # not decoded, because it is not kept; in a damaged file it may turn out to be missing
                stats.num_corrupt += not spec.keyframes and sampler.keep(pts_seconds)
                stats.num_skipped += 1
                continue
            zero_at_microseconds = self._packets.zero_at_microseconds
            if zero_at_microseconds is not None and picture.time is not None:
                taken_seconds = zero_at_microseconds / 1e6 + picture.time
                stats.source_delay_seconds = self._now().timestamp() - taken_seconds
            if not sampler.keep(pts_seconds):
                stats.num_skipped += 1
                continue
            if self._release is not None:
                wait_seconds = self._release.wait_seconds(pts_seconds, now_seconds=time.monotonic())
                self._opened.wait_unless_closed(wait_seconds)
            yield self._frame(picture, frame_index=frame_index, pts_seconds=pts_seconds)
            num_yielded += 1
            if num_yielded == spec.max_frames:
                return

    def _timed_pictures(self) -> Iterator[tuple[VideoFrame | None, float]]:
        """Pictures in the order in which they are shown, with their times; None for those that were not decoded."""
        first, self._first = self._first, None
        if first is not None:
            if self._unwanted is not None and first[0].pts is not None:
                self._unwanted.passed(first[0].pts)
            yield from self._before_first
            yield first
            del first  # its buffer goes back to the decoder
        beginning = self._beginning
        for picture in self._pictures:
            not_decoded = self._unwanted or self._key_frames
            if picture is None:
                yield from self._rest_of_time_line()
                continue
            if beginning is not None and beginning.is_before(picture.time):
                continue
            beginning = None  # stamps may begin again later
            if not_decoded is None or picture.pts is None:
                yield picture, self._time_of(picture)
            else:
                yield from self._not_decoded(not_decoded.passed(picture.pts))
                pts_seconds = self._time_of(picture)
                if self._unwanted is not None:
                    self._unwanted.is_at(picture.pts, pts_seconds, index=self._stats.num_decoded)
                yield picture, pts_seconds
        yield from self._rest_of_time_line()

    def _rest_of_time_line(self) -> Iterator[tuple[None, float]]:
        """The pictures at its end that were not decoded; of another one places are counted anew, or all are decoded."""
        not_decoded = self._unwanted or self._key_frames
        if not_decoded is None:
            return
        yield from self._not_decoded(not_decoded.rest())
        if self._unwanted is not None:
            self._unwanted = None
            self._stream.codec_context.skip_frame = "DEFAULT"
        else:
            self._key_frames = KeyFrames()

    def _not_decoded(self, stamps: Sequence[int]) -> Iterator[tuple[None, float]]:
        assert isinstance(self._timeline, FileTimeline) and self._stream.time_base is not None  # noqa: S101 - for mypy
        for stamp in stamps:
            yield None, self._timeline.advance(stamp * float(self._stream.time_base))

    def _time_of(self, picture: VideoFrame) -> float:
        timeline = self._timeline
        if isinstance(timeline, FileTimeline):
            return timeline.advance(picture.time, is_key=picture.key_frame)
        was_given_up = timeline.stamp_rate is not None
        pts_seconds = timeline.advance(
            picture.time, is_key=picture.key_frame, arrived_seconds=self._packets.arrived_seconds
        )
        if timeline.stamp_rate is not None and not was_given_up:
            self._stats.num_clock_faults += 1
            logger.warning("%s: %s", self._name, self._clock_notice())
        return pts_seconds

    def _pixel_aspect(self, *, is_turned: bool) -> float:
        """Width of a stored pixel over its height, upright, of the picture that was decoded last."""
        if self._spec.pixel_aspect is not None:
            return self._spec.pixel_aspect
        if self._says_aspect:
            coded = self._stream.codec_context.sample_aspect_ratio
            # What the container says is said of all pictures. Broadcasts change between 4:3 and 16:9 in the codec only.
            if coded != self._coded_aspect and (self._coded_aspect or not self._declared_aspect):
                self._declared_aspect = coded
            self._coded_aspect = coded
        aspect = believed_aspect(self._declared_aspect)
        return round(1 / aspect, 6) if is_turned else aspect

    def _aspect_notice(self) -> str:
        context = self._stream.codec_context
        if self._spec.pixel_aspect is not None or self._is_picture:
            return ""
        told = told_of_aspect(self._declared_aspect, width=context.width, height=context.height)
        if told:
            logger.warning("%s: %s", self._name, told)
        return told

    def _clock_notice(self) -> str:
        rate = self._timeline.stamp_rate if isinstance(self._timeline, LiveTimeline) else None
        if rate is None:
            return ""
        return f"its time stamps run {rate:.2f} times as fast as its pictures arrive: time follows their arrival"

    def _frame(self, picture: VideoFrame, *, frame_index: int, pts_seconds: float) -> Frame:
        self._check_size(picture.width, picture.height)
        try:
            pixels = self._reader.read(picture, load_packet=self._load_packet)
        except FFmpegError as exc:
            pixel_format = picture.format.name
            raise SourceRejectedError(f"{self._name}: cannot convert pixel format {pixel_format} to gray") from exc
        frame = Frame(
            stream_id=self._spec.stream_id,
            frame_index=frame_index,
            pts_seconds=pts_seconds,
            captured_at=self._now(),
            luma=pixels.luma,
            is_full_range=pixels.is_full_range,
            decode_seconds=self._decode_seconds,
            load_rgb=pixels.load_rgb,
        )
        return in_square_pixels(
            frame,
            aspect=self._pixel_aspect(is_turned=pixels.is_turned),
            max_pixels=self._settings.max_frame_pixels,
        )

    def _load_packet(self) -> bytes:
        return b"" if self._packet is None else bytes(self._packet)

    def _decode(self) -> Iterator[VideoFrame | None]:
        """Pictures; None where pictures are left out and the stamps begin again (recordings put together)."""
        stats, context = self._stats, self._stream.codec_context
        newest_key_stamp: int | None = None
        for packet in decodable_packets(iter(self._packets), kind=self.kind, stats=stats):
            if packet.size and packet.is_keyframe and packet.pts is not None and (self._unwanted or self._key_frames):
                if newest_key_stamp is not None and packet.pts <= newest_key_stamp and not packet.is_discard:
                    yield from self._held_pictures()
                    yield None
                newest_key_stamp = packet.pts
            started = time.perf_counter()
            if packet.size:  # not the empty one that flushes the decoder
                self._packet = packet
                if packet.has_sidedata("encryption_info"):
                    raise SourceRejectedError(
                        f"{self._name}: it is encrypted (DRM) and cannot be decoded; give an unprotected video"
                    )
            if self._key_frames is not None:
                self._add_key_frame(packet, self._key_frames)
            elif self._unwanted is not None:
                context.skip_frame = "NONREF" if self._is_unwanted(packet) else "DEFAULT"
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

    def _held_pictures(self) -> Iterator[VideoFrame]:
        """What the decoder still holds, before it goes on."""
        with contextlib.suppress(FFmpegError):
            yield from self._packets.flush_packet().decode()
        self._stream.codec_context.flush_buffers()

    def _decode_key_frames(self) -> Iterator[VideoFrame | None]:
        """Each when the next one is decoded: then all pictures that are shown before it were read."""
        held: VideoFrame | None = None
        for picture in self._decode():
            assert self._key_frames is not None  # noqa: S101  # for the type checker
            if picture is not None and not self._key_frames.is_key(picture.pts):  # some decoders give others as well
                continue
            if held is not None:
                yield held
            held = picture
            if picture is None:
                yield None
        if held is not None:
            yield held

    def _add_key_frame(self, packet: Packet[VideoStream], key_frames: KeyFrames) -> None:
        if not packet.size or packet.is_discard:
            return
        if packet.pts is None:
            raise SourceRejectedError(
                f"{self._name}: not all pictures have time stamps, so that key frames alone cannot be numbered; leave "
                "out keyframes"
            )
        key_frames.add(packet.pts, is_key=packet.is_keyframe)

    def _is_unwanted(self, packet: Packet[VideoStream]) -> bool:
        """Whether the picture of a packet is not kept, so that it is decoded only where others are made from it."""
        # What an edit list leaves out does not count as a picture.
        if self._unwanted is None or not packet.size or packet.pts is None or packet.is_discard:
            return False
        return self._unwanted.add(packet.pts)


def _is_stamped(container: InputContainer) -> bool:
    return bool(_STAMPED_FORMATS & set(container.format.name.split(",")))


def _cropping_of(
    container: InputContainer, stream: VideoStream, *, location: Location, file: BinaryIO | None
) -> Cropping:
    """What is cropped of a video in a Matroska file that can be read beside FFmpeg."""
    path = location.address.removeprefix("file:")
    is_readable = file is not None or (path != location.address and not location.is_pipe)
    if not (is_readable and container.format.name.startswith("matroska")):
        return NOTHING_CROPPED
    try:
        if file is None:
            with Path(path).open("rb") as opened:
                croppings = croppings_in_matroska(opened)
        else:
            position = file.tell()
            croppings = croppings_in_matroska(file)
            file.seek(position)  # FFmpeg goes on from there
    except (OSError, ValueError):  # FFmpeg could read it; that it cannot be read again is no fault of the video
        return NOTHING_CROPPED
    return croppings[stream.index] if stream.index < len(croppings) else NOTHING_CROPPED
