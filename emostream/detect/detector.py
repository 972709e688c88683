"""The role of a face detector."""

from __future__ import annotations

from typing import Protocol

from emostream.face import Face
from emostream.frame import Luma


class FaceDetector(Protocol):
    """Finds faces in one gray picture.

    Called by the pipeline from worker threads, possibly several at once, so `detect` must be thread-safe. It may block
    for the length of one inference and must not keep a reference to the picture. An empty list means: no face.
    """

    @property
    def name(self) -> str:
        """Short name for logs and reports."""
        ...

    def detect(self, luma: Luma) -> list[Face]:
        """Faces in a full-range or limited-range gray picture (uint8, H×W), best score first.

        Boxes and landmarks are in pixels of that picture. Raises `InferenceError` when this picture cannot be searched.
        """
        ...
