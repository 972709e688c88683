"""How a process that follows streams shares its cores, and how it gives memory back."""

from __future__ import annotations

import ctypes
import sys

import cv2

# Threads that come back from FFmpeg, OpenCV or ONNX Runtime wait this long for one that computes in Python, instead of
# Python's 5 ms: with four streams on two cores 6 to 12 % more frames (docs/decisions/0010).
_MAX_TURN_SECONDS = 0.001

# glibc puts large buffers where they go back to the system when they are freed, but after the first of them was freed
# it puts the next ones of that size into the heap of their thread. Pictures then leave holes there, and a process that
# had to catch up once stays large (docs/decisions/0010). Its documented threshold, set by us, is not moved any more.
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 128 * 1024


def tune_process() -> None:
    """For all threads of this process, from now on. May be called again."""
    cv2.setNumThreads(1)  # streams share the cores; OpenCV's own threads would only disturb them
    sys.setswitchinterval(_MAX_TURN_SECONDS)
    set_malloc_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_malloc_option is not None:  # musl has none, and needs none
        set_malloc_option(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
