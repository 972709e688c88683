"""Which H.264 encoder writes videos: one of the machine's hardware where it works, else x264."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import av.error
from av.codec import Codec
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from emostream.errors import ConfigError

TIME_BASE = Fraction(1, 90_000)
"""The clock of MPEG: fine enough for any frame rate, and known to every player."""

SOFTWARE = "libx264"
# Those that take pictures from memory, each told how good pictures must be rather than how many bits they may take.
_OPTIONS: dict[str, dict[str, str]] = {
    "h264_nvenc": {"preset": "p4", "rc": "vbr", "cq": "21", "b:v": "0"},
    "h264_qsv": {"global_quality": "21"},
    "h264_amf": {"rc": "cqp", "qp_i": "20", "qp_p": "22"},
    "h264_videotoolbox": {"q:v": "65"},
    SOFTWARE: {"crf": "20", "preset": "veryfast"},
}
ENCODERS = ("auto", *_OPTIONS)
"""What a user may ask for."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder that was opened for this size, so it works.

    Attributes:
        name: FFmpeg's name.
        options: FFmpeg's options for it.
        is_fallback: whether another one was asked for by name and does not work here.
    """

    name: str
    options: dict[str, str] = field(repr=False)
    is_fallback: bool = False


def check_encoder(name: str) -> None:
    """Raises `ConfigError` where it is none that can be asked for."""
    if name not in ENCODERS:
        raise ConfigError(f"there is no encoder {name!r}; choose one of {', '.join(ENCODERS)}")


def choose_encoder(wanted: str, *, width: int, height: int) -> Encoder:
    """The encoder asked for, or x264 where it does not work; `auto` takes the first hardware that does."""
    for name in _OPTIONS if wanted == "auto" else (wanted,):
        if name == SOFTWARE or _works(name, width=width, height=height):
            return Encoder(name, _OPTIONS[name])
    return Encoder(SOFTWARE, _OPTIONS[SOFTWARE], is_fallback=True)


def _works(name: str, *, width: int, height: int) -> bool:
    try:
        codec = Codec(name, "w")
    except ValueError:  # this build of FFmpeg has it not
        return False
    context = CodecContext.create(codec)
    assert isinstance(context, VideoCodecContext)  # noqa: S101  # for the type checker: all of these are of videos
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = TIME_BASE, Fraction(25)
    context.options = dict(_OPTIONS[name])
    try:
        context.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
