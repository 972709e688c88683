"""Writes pictures and sound to an H.264 video file, through PyAV."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from emostream.errors import ConfigError
from emostream.render.encoder import TIME_BASE, Encoder, check_encoder, choose_encoder
from emostream.render.sound_track import Sound, SoundTrack, open_sound_track

_FORMATS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}
_MIN_STEP = {"matroska": 90}  # Matroska has milliseconds, and rejects two pictures with the same time
_DEFAULT_LAST_SECONDS = 0.04  # duration of a single picture, for its sound
# Players assume BT.601 below 720 lines and BT.709 from there on; the file is written like that and says so.
_MIN_HD_LINES = 720
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
_BT709, _SMPTE170M = 1, 6  # FFmpeg's AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic share these


class VideoWriter:
    """Writes RGB pictures with their times, and optional sound, to an .mp4, .mkv or .mov file.

    The file gets its name only when it is complete. Until then it is `<name>.part`, which is removed after an error or
    an interruption.

    Args:
        path: output file; replaced when it exists.
        declared_fps: hint for players; the times passed to `write` decide.
        encoder: FFmpeg's name of an H.264 encoder, or `auto` for hardware where it works.

    Raises:
        ConfigError: the folder or the file cannot be written, the file name has no video extension, or the encoder is
            unknown.
    """

    def __init__(
        self,
        path: Path,
        *,
        declared_fps: float = 25.0,
        encoder: str = "libx264",
    ) -> None:
        container_format = _FORMATS.get(path.suffix.lower())
        if container_format is None:
            raise ConfigError(f"cannot write video {path}: expected a name ending in .mp4, .mkv or .mov")
        check_encoder(encoder)
        self.encoder: Encoder | None = None
        """The encoder in use; known from the first picture on."""
        self.sound_description = ""
        """How the sound was written; empty without sound."""
        self._path = path
        self._partial = path.with_name(path.name + ".part")
        self._fps = _rate_from(declared_fps)
        self._wanted_encoder = encoder
        self._sound: Sound | None = None
        self._format = container_format
        self._min_step = _MIN_STEP.get(container_format, 1)
        self._last_pts = -self._min_step
        self._last_seconds = _DEFAULT_LAST_SECONDS
        self._reformatter = VideoReformatter()
        self._stream: av.VideoStream | None = None
        self._track: SoundTrack | None = None
        try:
            self._partial.touch()  # PyAV opens the file at the first packet only: report errors now
            self._container = av.open(str(self._partial), mode="w", format=container_format)
        except (av.error.FFmpegError, OSError) as exc:
            raise ConfigError(f"cannot write video {path}: {exc.strerror}; choose a file in a writable folder") from exc

    def follow_source(self, *, declared_fps: float | None, sound: Sound | None) -> None:
        """Set properties that are known once the source is open; call before the first `write`.

        Args:
            declared_fps: hint for players; None keeps the constructor's.
            sound: sound to include; not closed here.
        """
        if declared_fps is not None:
            self._fps = _rate_from(declared_fps)
        self._sound = sound

    def write(self, rgb: npt.NDArray[np.uint8], *, pts_seconds: float) -> None:
        """Append a picture (uint8, H×W×3, RGB) shown from `pts_seconds` on; times must increase."""
        picture = av.VideoFrame.from_ndarray(_even(rgb), format="rgb24")
        if self._stream is None:
            self._stream = self._add_stream(width=picture.width, height=picture.height)
            self._track = self._add_sound()
        # The size of the source may change; a video file's cannot, so pictures are scaled to the size of the first.
        frame = self._reformatter.reformat(
            picture,
            width=self._stream.width,
            height=self._stream.height,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709 if self._is_hd else Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
        )
        pts = max(self._last_pts + self._min_step, round(pts_seconds / TIME_BASE))
        if self._last_pts >= 0:
            self._last_seconds = float((pts - self._last_pts) * TIME_BASE)
        frame.pts = self._last_pts = pts
        frame.time_base = TIME_BASE
        try:
            self._write_sound(float(pts * TIME_BASE))
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError) as exc:
            raise ConfigError(f"cannot write video {self._path}: {exc.strerror}; is the disk full?") from exc

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            if self._stream is not None:
                self._write_sound(float(self._last_pts * TIME_BASE) + self._last_seconds, is_last=True)
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError) as exc:
            self._partial.unlink(missing_ok=True)
            raise ConfigError(f"cannot finish video {self._path}: {exc.strerror}; is the disk full?") from exc
        if self._stream is None:
            self._partial.unlink(missing_ok=True)
        else:
            self._partial.replace(self._path)

    @property
    def _is_hd(self) -> bool:
        return self._stream is not None and self._stream.height >= _MIN_HD_LINES

    def _add_stream(self, *, width: int, height: int) -> av.VideoStream:
        self.encoder = encoder = choose_encoder(self._wanted_encoder, width=width, height=height)
        stream = self._container.add_stream(encoder.name, rate=self._fps, options=dict(encoder.options))
        assert isinstance(stream, av.VideoStream)  # noqa: S101  # for the type checker
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = TIME_BASE
        context.color_range = ColorRange.MPEG
        context.colorspace = _BT709 if height >= _MIN_HD_LINES else _SMPTE170M
        context.color_primaries = context.color_trc = context.colorspace
        return stream

    def _add_sound(self) -> SoundTrack | None:
        if self._sound is None:
            return None
        try:
            track = open_sound_track(self._container, container_format=self._format, sound=self._sound)
        except (av.error.FFmpegError, ValueError) as exc:
            self.sound_description = f"left out: {exc}"
            return None
        self.sound_description = track.description
        return track

    def _write_sound(self, seconds: float, *, is_last: bool = False) -> None:
        """Write the sound up to this time. When that fails, the sound ends and the pictures continue."""
        if self._track is None:
            return
        try:
            self._track.write_until(seconds)
            if is_last:
                self._track.finish()
        except (av.error.FFmpegError, ValueError) as exc:
            if isinstance(exc, OSError) and exc.errno in _DISK_ERRORS:
                raise
            self.sound_description += f", only up to {seconds:.1f} s: {exc}"
            self._track = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Keep the frames before a source error; discard the file when writing failed.
        if isinstance(exc, ConfigError):
            self._container.close()
            self._partial.unlink(missing_ok=True)
        else:
            self.close()


def _rate_from(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)


def _even(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """4:2:0 needs even sides of at least 2: repeat the last row or column if necessary."""
    height, width = rgb.shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    return np.ascontiguousarray(np.pad(rgb, padding, mode="edge") if height % 2 or width % 2 else rgb)
