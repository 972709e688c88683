"""The sound of a file, packet by packet, beside its pictures: for videos that are written anew."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard

from emostream.config import DecodeSettings
from emostream.decode.container_info import max_gap_seconds
from emostream.decode.location import parse_location
from emostream.decode.remote_file import is_remote, open_remote
from emostream.domain.stream import StreamKind
from emostream.errors import SourceRejectedError

_MAX_STEP_BACK_SECONDS = 1.0  # as for pictures
_PRIMING_SECONDS = 0.05  # packets just before time 0 are kept: codecs need one to begin with, and it is not heard


class SoundReader:
    """The first audio track of a file, opened a second time. Use in a `with` statement.

    Where its stamps jump to another time line (recordings put together), the sound goes on after what came before, as
    the pictures do.

    Args:
        url: path or URL.
        settings: time-outs and limits.
        zero_seconds: the source's time of the first picture, which is time 0 of the packets.

    Raises:
        SourceRejectedError: it cannot be opened, or has no sound that FFmpeg can decode.
    """

    def __init__(self, url: str, *, settings: DecodeSettings, zero_seconds: float) -> None:
        self.num_discontinuities = 0
        """How often the stamps began again."""
        self._zero_seconds = zero_seconds
        self._next_stamp: float | None = None  # where the next packet is expected
        self._seconds_per_tick = 0.0
        self._container: InputContainer | None = None
        self._file: BinaryIO | None = None
        self._waiting: Packet[AudioStream] | None = None
        location = parse_location(url, settings=settings)
        if location.is_pipe:
            raise SourceRejectedError("the sound cannot be read: a pipe is read only once")
        timeout = (settings.open_timeout_seconds, settings.read_timeout_seconds) if location.is_network else None
        try:
            self._file = open_remote(location.address) if is_remote(location.address) else None
            opened: Any = av.open(
                self._file or location.address,
                options=dict(location.options),
                timeout=timeout,
                metadata_errors="replace",
            )
            self._container = container = cast(InputContainer, opened)
            self.stream = _audio_stream(container)
            self._max_gap_seconds = max_gap_seconds(container, kind=StreamKind.FILE)
            self._packets = container.demux(self.stream)
        except FFmpegError as exc:
            self.close()
            raise SourceRejectedError(f"the sound cannot be read: {exc.strerror}") from exc
        except BaseException:
            self.close()
            raise

    def packets_until(self, seconds: float) -> Iterator[Packet[AudioStream]]:
        """The packets that begin before this time and were not given yet; ends for good where the file is damaged."""
        while (packet := self._waiting or self._next()) is not None:
            start = (packet.pts or 0) * self._seconds_per_tick
            duration = (packet.duration or 0) * self._seconds_per_tick
            if start >= seconds:
                self._waiting = packet
                return
            self._waiting = None
            if start + duration > -_PRIMING_SECONDS:
                yield packet

    def _next(self) -> Packet[AudioStream] | None:
        """The next packet that has a time, on the time line of the pictures."""
        try:
            for packet in self._packets:
                time_base = packet.time_base
                if packet.size and packet.pts is not None and packet.dts is not None and time_base is not None:
                    self._seconds_per_tick = time_base.numerator / time_base.denominator
                    self._follow(packet.pts * self._seconds_per_tick, (packet.duration or 0) * self._seconds_per_tick)
                    shift = round(self._zero_seconds / self._seconds_per_tick)
                    packet.pts -= shift
                    packet.dts -= shift
                    return packet
        except FFmpegError:
            return None
        return None

    def _follow(self, stamp_seconds: float, duration_seconds: float) -> None:
        """Look whether the packet begins another time line; then it comes right after the last one."""
        if self._next_stamp is not None:
            step = stamp_seconds - self._next_stamp
            if step < -_MAX_STEP_BACK_SECONDS or step > self._max_gap_seconds:
                self.num_discontinuities += 1
                self._zero_seconds += step
        self._next_stamp = stamp_seconds + duration_seconds

    def close(self) -> None:
        """Release the file."""
        if self._container is not None:
            self._container.close()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _audio_stream(container: InputContainer) -> AudioStream:
    stream = next(iter(container.streams.audio), None)
    if stream is None:
        raise SourceRejectedError("there is no sound")
    if stream.codec_context is None:
        raise SourceRejectedError("there is no decoder for the codec of the sound")
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream
