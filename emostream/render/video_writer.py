"""Pictures → an H.264 video file, through PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
import numpy.typing as npt

from emostream.errors import ConfigError

# 90 kHz, the clock of MPEG: fine enough for any frame rate, and known to every player.
_TIME_BASE = Fraction(1, 90_000)


class VideoWriter:
    """Writes RGB pictures with their times to an .mp4, .mkv or .mov file.

    The file appears under its name only when it is complete; until then it is `<name>.part` beside it, and an error or
    an interruption removes that.

    Args:
        path: the file to write; replaced when it exists.
        declared_fps: hint for players; the times given to `write` decide.

    Raises:
        ConfigError: the folder or the file cannot be written, or the ending is not a video format.
    """

    def __init__(self, path: Path, *, declared_fps: float = 25.0) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".part")
        self._fps = Fraction(declared_fps).limit_denominator(1001)
        self._last_pts = -1
        self._stream: av.VideoStream | None = None
        container_format = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}.get(path.suffix.lower())
        if container_format is None:
            raise ConfigError(f"cannot write video {path}: expected a name ending in .mp4, .mkv or .mov")
        try:
            self._partial.touch()  # PyAV opens the file at the first packet only: find out now
            self._container = av.open(str(self._partial), mode="w", format=container_format)
        except (av.error.FFmpegError, OSError) as exc:
            raise ConfigError(f"cannot write video {path}: {exc.strerror}; give a file in a writable folder") from exc

    def write(self, rgb: npt.NDArray[np.uint8], *, pts_seconds: float) -> None:
        """Append a picture (uint8, H×W×3, RGB) shown from `pts_seconds` on; times must grow."""
        frame = av.VideoFrame.from_ndarray(_even(rgb), format="rgb24")
        if self._stream is None:
            self._stream = self._add_stream(width=frame.width, height=frame.height)
        elif (frame.width, frame.height) != (self._stream.width, self._stream.height):
            # The source changed its size in mid-stream; a video file cannot.
            frame = frame.reformat(width=self._stream.width, height=self._stream.height)
        frame.pts = self._last_pts = max(self._last_pts + 1, round(pts_seconds / _TIME_BASE))
        frame.time_base = _TIME_BASE
        self._mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            if self._stream is not None:
                self._mux(self._stream.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError) as exc:
            self._partial.unlink(missing_ok=True)
            raise ConfigError(f"cannot finish video {self._path}: {exc.strerror}; is the disk full?") from exc
        if self._stream is None:
            self._partial.unlink(missing_ok=True)
        else:
            self._partial.replace(self._path)

    def _add_stream(self, *, width: int, height: int) -> av.VideoStream:
        stream = self._container.add_stream("libx264", rate=self._fps, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = _TIME_BASE
        return stream

    def _mux(self, packets: list[av.Packet[av.VideoStream]]) -> None:
        try:
            self._container.mux(packets)
        except (av.error.FFmpegError, OSError) as exc:
            raise ConfigError(f"cannot write video {self._path}: {exc.strerror}; is the disk full?") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Frames before a source error are worth keeping; a failed write is not a video.
        if isinstance(exc, ConfigError):
            self._container.close()
            self._partial.unlink(missing_ok=True)
        else:
            self.close()


def _even(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """4:2:0 needs even sides of at least 2: repeat the last row or column where one is missing."""
    height, width = rgb.shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    return np.ascontiguousarray(np.pad(rgb, padding, mode="edge") if height % 2 or width % 2 else rgb)
