"""Simulates a network camera: sends a clip as MPEG-TS over UDP in real time, in a loop, without re-encoding."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.error import FFmpegError

from emostream.errors import SourceRejectedError

_DATAGRAM_BYTES = 1316  # seven MPEG-TS packets, the usual size


class NetworkCamera:
    """A context manager that sends to a port on the loopback interface while it is open.

    Args:
        video: a clip with a codec that MPEG-TS supports, such as H.264.
        port: destination port.

    Raises:
        SourceRejectedError: the clip has no video, or FFmpeg cannot read it.
    """

    def __init__(self, video: Path, *, port: int) -> None:
        self._video = video
        self._url = f"udp://127.0.0.1:{port}?pkt_size={_DATAGRAM_BYTES}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="emostream-camera", daemon=True)
        try:
            with av.open(str(video)) as container:
                stream = container.streams.video[0]
                self.fps = float(stream.average_rate or 25)
        except (FFmpegError, IndexError) as exc:
            raise SourceRejectedError(f"{video}: expected a video, got {exc}") from exc

    def __enter__(self) -> Self:
        """Start sending."""
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop sending."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with av.open(str(self._video)) as clip, suppress(FFmpegError), av.open(self._url, "w", format="mpegts") as out:
            stream = clip.streams.video[0]
            sent: Any = out.add_stream_from_template(stream)
            started = time.monotonic()
            for packet, seconds in self._packets(clip, stream):
                if self._stopping.wait(max(0.0, started + seconds - time.monotonic())):
                    return
                packet.stream = sent
                out.mux_one(packet)

    def _packets(self, clip: Any, stream: Any) -> Iterator[tuple[Any, float]]:
        """The clip's packets with their send times, looped with increasing time stamps."""
        offset = 0
        step = max(1, round(1 / (self.fps * stream.time_base)))
        while not self._stopping.is_set():
            clip.seek(0)
            end = offset
            for packet in clip.demux(stream):
                if packet.dts is None:
                    continue
                pts = packet.dts if packet.pts is None else packet.pts
                packet.dts, packet.pts = packet.dts + offset, pts + offset
                end = max(end, packet.dts, packet.pts)
                yield packet, float(packet.dts * stream.time_base)
            offset = end + step
