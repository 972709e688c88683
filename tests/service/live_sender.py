"""Sends a moving picture in real time, by whatever FFmpeg muxes: MPEG-TS over UDP, RTMP, HLS into a folder."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av

from tests.media import textured_picture, video_frame

_FPS = 25


@dataclass
class LiveSender:
    """A sender in a thread; what it sends can be changed while it runs.

    Attributes:
        url: where to.
        format: FFmpeg's muxer.
        codec, width, height: of the video; a change begins a new connection.
        first_pts: time stamp of the first picture of a connection, in pictures.
        options: of the muxer.
        num_sent: pictures.
    """

    url: str
    format: str
    codec: str = "libx264"
    width: int = 320
    height: int = 180
    first_pts: int = 0
    options: dict[str, str] = field(default_factory=dict)
    num_sent: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _changing: threading.Event = field(default_factory=threading.Event)

    def change(self, **attributes: Any) -> None:
        """Go on with these attributes, without a pause."""
        for name, value in attributes.items():
            setattr(self, name, value)
        self._changing.set()

    def run(self) -> None:
        """Send until stopped."""
        started = time.monotonic()
        while not self._stopping.is_set():
            self._changing.clear()
            with (
                contextlib.suppress(av.error.FFmpegError),
                av.open(self.url, "w", format=self.format, options=self.options) as container,
            ):
                stream: Any = container.add_stream(self.codec, rate=_FPS, options=_FAST.get(self.codec, {}))
                stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
                stream.codec_context.gop_size = _FPS // 2
                stream.codec_context.max_b_frames = 0
                while not self._stopping.is_set() and not self._changing.is_set():
                    picture = textured_picture(self.num_sent, width=self.width, height=self.height)
                    frame = video_frame(picture)
                    frame.pts, frame.time_base = self.first_pts + self.num_sent, Fraction(1, _FPS)
                    container.mux(stream.encode(frame))
                    self.num_sent += 1
                    self._stopping.wait(max(0.0, started + self.num_sent / _FPS - time.monotonic()))


_FAST = {
    "libx264": {"preset": "ultrafast", "tune": "zerolatency"},
    "libx265": {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"},
}


@contextlib.contextmanager
def sending(sender: LiveSender) -> Iterator[LiveSender]:
    """The sender at work."""
    thread = threading.Thread(target=sender.run, daemon=True)
    thread.start()
    try:
        yield sender
    finally:
        sender._stopping.set()
        thread.join(timeout=10)
