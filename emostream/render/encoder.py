"""Chooses the H.264 encoder for videos: a hardware encoder where one works, otherwise x264."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import av.error
from av.codec import Codec
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from emostream.errors import ConfigError

TIME_BASE = Fraction(1, 90_000)
"""MPEG's 90 kHz clock: exact enough for any frame rate, and supported by every player."""

SOFTWARE = "libx264"
# Encoders that accept pictures in host memory, with options for constant quality rather than constant bit rate.
_OPTIONS: dict[str, dict[str, str]] = {
    "h264_nvenc": {"preset": "p4", "rc": "vbr", "cq": "21", "b:v": "0"},
    "h264_qsv": {"global_quality": "21"},
    "h264_amf": {"rc": "cqp", "qp_i": "20", "qp_p": "22"},
    "h264_videotoolbox": {"q:v": "65"},
    SOFTWARE: {"crf": "20", "preset": "veryfast"},
}
ENCODERS = ("auto", *_OPTIONS)
"""The names that a user may select."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder that was opened successfully for the size of the video.

    Attributes:
        name: FFmpeg's name.
        options: FFmpeg's options for it.
        is_fallback: whether the requested encoder does not work here.
    """

    name: str
    options: dict[str, str] = field(repr=False)
    is_fallback: bool = False


def check_encoder(name: str) -> None:
    """Raise `ConfigError` when the name cannot be selected."""
    if name not in ENCODERS:
        raise ConfigError(f"unknown encoder {name!r}; choose one of {', '.join(ENCODERS)}")


def choose_encoder(wanted: str, *, width: int, height: int) -> Encoder:
    """The requested encoder, or x264 where it does not work; `auto` tries hardware encoders first."""
    for name in _OPTIONS if wanted == "auto" else (wanted,):
        if name == SOFTWARE or _works(name, width=width, height=height):
            return Encoder(name, _OPTIONS[name])
    return Encoder(SOFTWARE, _OPTIONS[SOFTWARE], is_fallback=True)


def _works(name: str, *, width: int, height: int) -> bool:
    try:
        codec = Codec(name, "w")
    except ValueError:  # this build of FFmpeg does not have it
        return False
    context = CodecContext.create(codec)
    assert isinstance(context, VideoCodecContext)  # noqa: S101  # for the type checker
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = TIME_BASE, Fraction(25)
    context.options = dict(_OPTIONS[name])
    try:
        context.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
