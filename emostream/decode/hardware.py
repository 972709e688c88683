"""Decoders on GPUs: which one to use, and whether it is really in use. Imports PyAV for its `HWAccel` alone."""

from __future__ import annotations

import functools
import logging

from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import FFmpegError
from av.video.frame import VideoFrame

logger = logging.getLogger(__name__)

_AUTOMATIC = ("cuda", "videotoolbox")
# What comes from a GPU is in one of these; the processor's decoders give planes of their own for each colour.
_DOWNLOADED_FORMATS = frozenset({"nv12", "p010le", "p016le", "nv16", "nv24"})


def usable_hardware(choice: str) -> str | None:
    """The kind of device to decode with; None means the processor. What is missing is logged once.

    Args:
        choice: "none", "auto", or the name of a kind.
    """
    kinds = _AUTOMATIC if choice == "auto" else (choice,)
    kind = next((kind for kind in kinds if kind != "none" and is_usable(kind)), None)
    if kind is None and choice not in ("none", "auto"):
        _tell_missing(choice)
    return kind


@functools.cache
def is_usable(kind: str) -> bool:
    """Whether a device of this kind is on this machine and can be opened."""
    if kind not in hwdevices_available():
        return False
    try:
        CodecContext.create("h264", "r", hwaccel=HWAccel(kind, allow_software_fallback=False)).open()
    except (FFmpegError, OSError, ValueError, NotImplementedError, RuntimeError) as exc:
        logger.info("no hardware decoder %s: %s", kind, exc)
        return False
    return True


def hardware_of(kind: str | None) -> HWAccel | None:
    """What `av.open` takes."""
    if kind is None:
        return None
    # One context for all decoders of a process and its engines: one for each stream would cost memory of the card.
    options: dict[str, object] | None = {"primary_ctx": "1"} if kind == "cuda" else None
    return HWAccel(kind, allow_software_fallback=True, options=options)


def decoder_name(codec: str, kind: str | None, picture: VideoFrame) -> str:
    """What decoded a picture, for example "h264" or "h264 (cuda)".

    FFmpeg changes to software without a word where the device cannot decode a stream; only its pictures tell.
    """
    return f"{codec} ({kind})" if kind is not None and picture.format.name in _DOWNLOADED_FORMATS else codec


@functools.cache
def _tell_missing(choice: str) -> None:
    logger.warning("decode.hwaccel is %s, but there is no such device; videos are decoded by the processor", choice)
