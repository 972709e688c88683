"""A face as a vector in which pictures of one person lie close together.

The network is dlib's ResNet of 29 layers (`training/tools/person_model.py` says where its weights come from and makes
the file). `python -m tests.benchmarks.persons` measures how well it tells persons apart in gray pictures of this size.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.detect.align import crop_by_landmarks
from emostream.vision.engines.ort_network import OrtNetwork

CHIP_SIZE_PIXELS = 150
EMBEDDING_SIZE = 128

# Where dlib puts the points that its 68-point landmarks share with ours, in a chip of 150 pixels with a border of 25 %:
# 25 + 100·(mean face shape of dlib's image_transforms/interpolation.h); an eye is the middle of its six points.
CHIP_LANDMARKS = np.array([[47.5, 46.6], [100.5, 46.6], [74.0, 76.6], [50.4, 103.0], [97.6, 103.0]])

Embeddings = npt.NDArray[np.float32]
"""float32, n×128, rows of length 1; their products are cosines."""


def chip_of(luma: Luma, face: Face) -> Luma | None:
    """The picture of a face that the network takes, uint8 150×150, in the range of `luma`; None without landmarks."""
    return crop_by_landmarks(luma, face, CHIP_LANDMARKS, size=CHIP_SIZE_PIXELS) if face.landmarks else None


class FaceEmbedder:
    """The network; opened when it is first needed. Thread-safe.

    Args:
        path: its file, checked by the model store.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._network: OrtNetwork | None = None

    def embed(self, chips: npt.NDArray[np.uint8]) -> Embeddings:
        """One vector per chip.

        Args:
            chips: uint8, n×150×150, full range.

        Raises:
            ManifestError: the file is no such model.
            InferenceError: it cannot be computed.
        """
        (vectors,) = self._opened().run(chips, output_names=["embeddings"])
        return vectors

    def vector_of(self, luma: Luma, face: Face) -> npt.NDArray[np.float32]:
        """The vector of a face in a picture, float32, 128; errors as for `embed`.

        Raises:
            ValueError: the face has no landmarks.
        """
        chip = chip_of(luma, face)
        if chip is None:
            raise ValueError("expected a face with landmarks")
        (vector,) = self.embed(chip[None])
        return np.asarray(vector)

    def _opened(self) -> OrtNetwork:
        with self._lock:
            if self._network is None:
                network = OrtNetwork(self._path, path=self._path, kind="a model that tells persons apart")
                network.check(input_name="faces", output_names=["embeddings"])
                self._network = network
            return self._network
