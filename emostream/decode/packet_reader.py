"""Packets of one video out of an open container, to its end, and what that end means."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from emostream.decode.container_info import video_end_seconds
from emostream.decode.corruption import CorruptionLimit, check_file_end
from emostream.decode.formats.picture_structure import PICTURE_CODECS
from emostream.decode.gaps import GapMeter
from emostream.decode.location import Location
from emostream.decode.open_container import OpenContainer
from emostream.decode.source import DecodeStats, SourceInfo
from emostream.domain.stream import StreamKind
from emostream.errors import (
    DecodeError,
    SourceCutShortError,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
)

logger = logging.getLogger(__name__)

# A body without a length ends as the connection does; what is reset or aborted did not end.
_BROKEN_OFF = (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)
_MULTIPART = "mpjpeg"  # FFmpeg's name of `multipart/x-mixed-replace`

_MAX_ODD_PARTS = 3

Translate = Callable[[FFmpegError, float], SourceError]
"""An error of FFmpeg, and since when the call ran (monotonic seconds) → ours."""


class SinglePictureError(SourceUnavailableError):
    """A live source over HTTP gave one picture and ended: it has to be fetched again for the next one."""


class OddMultipartError(SourceUnavailableError):
    """Parts of a multipart body are not where their headers say; their pictures have to be searched for."""


class PacketReader:
    """Iterates over complete and damaged packets of the video, then an empty one; over parts that cannot be read.

    All streams are demuxed: PyAV skips those that were not asked for in a loop of its own, whose time-out begins again
    with each packet and which `close` cannot get into. So a camera whose picture stops while its sound or metadata goes
    on would be read for ever.

    Args:
        opened: the container; made inside its `used`.
        container: the same, in use.
        stream: the video.
        location: how it was opened.
        kind: live or file.
        info: what the container declared.
        read_timeout_seconds: without a packet of the video for longer, a live source is over.
        stats: counts missing pictures; read for the number of those that came.
        corruption: counts what cannot be read.
        translate: errors of FFmpeg into ours.
        reached_seconds: returns where the next picture is expected.
    """

    def __init__(
        self,
        opened: OpenContainer,
        container: InputContainer,
        stream: VideoStream,
        *,
        location: Location,
        kind: StreamKind,
        info: SourceInfo,
        read_timeout_seconds: float,
        stats: DecodeStats,
        corruption: CorruptionLimit,
        translate: Translate,
        reached_seconds: Callable[[], float],
    ) -> None:
        self.arrived_seconds = time.monotonic()
        """When the newest packet of the video was read; monotonic."""
        self.zero_at_microseconds: int | None = None
        """When, by the source's clock, time stamp 0 was; RTSP sends it late."""
        self._opened = opened
        self._stream = stream
        self._time_base = stream.time_base
        self._location = location
        self._name = location.name
        self._kind = kind
        self._read_timeout_seconds = read_timeout_seconds
        self._stats = stats
        self._corruption = corruption
        self._translate = translate
        self._reached_seconds = reached_seconds
        self._declared_seconds = info.duration_seconds
        self._declared_num_packets = stream.frames
        self._video_end_seconds = video_end_seconds(container, stream)
        self._num_read = 0  # packets of the video
        self._num_odd_parts = 0
        self._newest: Packet[Stream] | None = None
        self._newest_dts = -(1 << 63)
        self._gaps = GapMeter() if container.format.name == "hls" else None
        self._demuxed = container.demux()

    def restart(self, container: InputContainer, *, num_before: int) -> None:
        """Read on from the container's new position, with this number of video packets left out."""
        self._demuxed = container.demux()
        self._num_read = num_before
        self._declared_num_packets = max(0, self._declared_num_packets - num_before)

    def __iter__(self) -> Iterator[Packet[VideoStream]]:
        """Runs in the decode thread, once."""
        picture_at = time.monotonic()
        while True:
            started = time.monotonic()
            try:
                with self._opened.used() as container:
                    if container is None:
                        break
                    packet = _next_packet(self._demuxed)
                    self.zero_at_microseconds = container.start_time_realtime
                    if packet is None:
                        self._check_end(container)
                        break
            except InvalidDataError as exc:
                self._corruption.failed(exc)
                with self._opened.used() as container:  # an error ends the iterator, not the source
                    if container is not None:
                        self._check_multipart(container)
                        self._demuxed = container.demux()
                continue
            except FFmpegError as exc:
                error = self._error_unless_end(exc, started=started)
                yield self.flush_packet()  # pictures the decoder still holds are good
                if error is None:
                    break
                raise error from exc
            self._note(packet)
            if packet.stream is self._stream:
                self.arrived_seconds = time.monotonic()
                yield self._shown(cast("Packet[VideoStream]", packet))
                picture_at = time.monotonic()  # not before: the consumer may take its time
            elif self._is_stopped(since=picture_at):
                yield self.flush_packet()
                raise SourceTimeoutError(
                    f"{self._name}: no picture came within {self._read_timeout_seconds:g} s, but sound or other data; "
                    "the source is opened again"
                )

    def _check_multipart(self, container: InputContainer) -> None:
        self._num_odd_parts += self._kind is StreamKind.LIVE and container.format.name == _MULTIPART
        if self._num_odd_parts >= _MAX_ODD_PARTS:
            raise OddMultipartError(f"{self._name}: parts of its body are not as long as their headers say")

    def _note(self, packet: Packet[Stream]) -> None:
        """Count it, and what is missing before it."""
        if packet.size and packet.stream is self._stream:
            self._num_read += 1
            self._newest = packet
        if self._gaps is None or packet.dts is None or packet.time_base is None:
            return
        at_seconds = float(packet.dts * packet.time_base)
        if packet.stream is not self._stream:
            self._gaps.add_other(at_seconds, float((packet.duration or 0) * packet.time_base))
            return
        gap_seconds = self._gaps.add_picture(at_seconds, is_key=packet.is_keyframe)
        if gap_seconds and self._kind is StreamKind.LIVE:  # a file is judged at its end, by its declared length
            self._stats.num_corrupt += round(gap_seconds / self._gaps.interval_seconds)
            logger.warning(
                "%s: %.1f s of the picture are missing: segments of its playlist could not be read",
                self._name,
                gap_seconds,
            )

    def _shown(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        """The packet, to be decoded although FFmpeg marked it as left out, where its time line begins again.

        An edit list leaves out pictures that come before those that are shown. FFmpeg marks the first fragment of
        another recording in the same way, because its stamps are behind those of the last one.
        """
        if packet.dts is None:
            return packet
        newest_dts, self._newest_dts = self._newest_dts, max(self._newest_dts, packet.dts)
        if not packet.is_discard or packet.dts > newest_dts:
            return packet
        shown: Any = Packet(bytes(packet))
        for side_data in packet.iter_sidedata():
            shown.set_sidedata(side_data)
        shown.stream, shown.time_base = packet.stream, packet.time_base
        shown.pts, shown.dts, shown.duration = packet.pts, packet.dts, packet.duration
        shown.is_keyframe = packet.is_keyframe
        return cast("Packet[VideoStream]", shown)

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
        with self._opened.used() as container:
            if container is not None and self._kind is StreamKind.LIVE and self.is_single_picture(container):
                return SinglePictureError(f"{self._name}: there is one picture only")
            if container is None or self._kind is StreamKind.LIVE or not self._location.is_http:
                return self._translate(exc, started)
            num_bytes = container.size
            if exc.errno == errno.EIO and num_bytes <= 0:
                try:
                    self._check_end(container)
                except SourceError as error:
                    return error
                return None
        if exc.errno in (errno.EIO, *_BROKEN_OFF) and self._num_read:
            missing = f"ended before the declared {num_bytes} bytes had come" if num_bytes > 0 else "was broken off"
            return SourceCutShortError(
                f"{self._name}: the connection {missing}; the pictures before are good, try again for the rest"
            )
        return self._translate(exc, started)

    def _is_stopped(self, *, since: float) -> bool:
        """Whether the picture of a live source is overdue; in files, other streams may go on for as long as they do."""
        return self._kind is StreamKind.LIVE and time.monotonic() - since > self._read_timeout_seconds

    def flush_packet(self) -> Packet[VideoStream]:
        """An empty one: the decoder gives the pictures that it still holds."""
        packet: Any = Packet()
        packet.stream, packet.time_base = self._stream, self._time_base
        return cast("Packet[VideoStream]", packet)

    def _check_end(self, container: InputContainer) -> None:
        if self._kind is StreamKind.LIVE and not self._location.is_standard_input:
            if self.is_single_picture(container):
                raise SinglePictureError(f"{self._name}: there is one picture only")
            raise SourceUnavailableError(f"{self._name}: the source ended; it is opened again")
        self._check_gaps()
        check_file_end(
            name=self._name,
            structure=self._location.structure,
            is_index_beyond_end=self._is_index_beyond_end(container),
            declared_num_packets=self._declared_num_packets,
            reached_seconds=self._reached_seconds(),
            declared_seconds=self._declared_seconds,
            missing_seconds=self._missing_seconds(),
            stats=self._stats,
        )

    def is_single_picture(self, container: InputContainer) -> bool:
        """Whether the body of an HTTP answer, as far as it was read, is a picture; no video or stream of pictures."""
        return (
            self._location.is_http
            and container.format.name != _MULTIPART
            and self._num_read <= 1
            and self._stream.codec_context.codec.canonical_name in PICTURE_CODECS
        )

    def _missing_seconds(self) -> float:
        """How much of the video is missing at its end, as far as its header says."""
        newest, end_seconds = self._newest, self._video_end_seconds
        if newest is None or end_seconds is None or newest.pts is None or newest.time_base is None:
            return 0.0
        return end_seconds - float((newest.pts + (newest.duration or 0)) * newest.time_base)

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
