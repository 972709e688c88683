"""Plays a clip as a camera on the network: MPEG-TS over UDP, in real time, over and over, without encoding it again."""

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

_DATAGRAM_BYTES = 1316  # seven packets of MPEG-TS, as everybody sends them


class NetworkCamera:
    """A context manager; sends to a port on loopback while it is open.

    Args:
        video: a clip in H.264 or another codec that MPEG-TS takes.
        port: where to.

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
        """Begin to send."""
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
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
        """The clip's packets with their time of sending, in rounds that follow each other in time."""
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
