"""How names of videos and pictures end. A file that is named itself may be called anything."""

from __future__ import annotations

VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".dav", ".dv", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
"""In lower case, by name."""

PICTURE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".jxl", ".pgm", ".png", ".ppm", ".tif"),
    *(".tiff", ".webp"),
)
"""In lower case, by name."""
