"""Arousal of the voice: how likely a listener would call it highly aroused, by a small network (`training.voice`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emostream.audio.features import Features
from emostream.audio.network import Network


class ArousalModel:
    """The network. Thread-safe.

    Args:
        path: its file.
        version: of its weights, as its manifest says.

    Raises:
        ManifestError: the file is no such model.
    """

    def __init__(self, path: Path, *, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self._network = Network(path, inputs=["features"], outputs=["arousal"])

    def arousal_of(self, features: Features) -> float:
        """Probability that the voice is highly aroused, 0…1; errors as of `Network.run`.

        Args:
            features: float32, of `features_of`.
        """
        (arousal,) = self._network.run({"features": features[None].astype(np.float32)})
        return float(arousal[0])
