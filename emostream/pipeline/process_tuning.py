"""Tunes a process that runs streams: sharing of cores, and returning memory to the system."""

from __future__ import annotations

import ctypes
import sys

import cv2

# Threads that return from FFmpeg, OpenCV or ONNX Runtime wait at most this long for the GIL, instead of Python's 5 ms:
# 6 to 12 % more frames with four streams on two cores (docs/decisions/0010).
_MAX_TURN_SECONDS = 0.001

# glibc allocates large buffers by mmap, which returns them to the system when freed, but raises its threshold after the
# first one is freed; later pictures then fragment the heap, and a process that had to catch up once stays large
# (docs/decisions/0010). Setting the threshold explicitly (documented in mallopt(3)) disables that.
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 128 * 1024


def tune_process() -> None:
    """Tune the process and all its threads. May be called repeatedly."""
    cv2.setNumThreads(1)  # streams share the cores; OpenCV's own threads would compete with them
    sys.setswitchinterval(_MAX_TURN_SECONDS)
    set_malloc_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_malloc_option is not None:  # musl does not have it and does not need it
        set_malloc_option(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
