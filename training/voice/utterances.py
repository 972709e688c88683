"""The Berlin Database of Emotional Speech (Burkhardt et al. 2005, "A database of German emotional speech").

535 utterances of ten actors, five of them women. A file's name says: speaker (2 digits), text (3 characters), emotion
(W anger, L boredom, E disgust, A fear, F happiness, T sadness, N neutral), version: `03a01Wa.flac`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emostream.audio.frames import Samples
from emostream.config import DecodeSettings
from emostream.decode.mono_sound import MonoSound

HIGH_AROUSAL = frozenset("WAF")
"""Anger, fear and happiness, against boredom, disgust, sadness and neutral."""

EMOTIONS = "WLEAFTN"


@dataclass(frozen=True, slots=True)
class Utterance:
    """One spoken sentence.

    Attributes:
        speaker: two digits.
        is_high: whether its emotion is one of high arousal.
        samples: float32, n; mono at 16 kHz.
    """

    speaker: str
    is_high: bool
    samples: Samples


def load_utterances(folder: Path) -> list[Utterance]:
    """All utterances of a folder, in the order of their names.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file's name is not one of the database.
    """
    paths = sorted((*folder.glob("*.flac"), *folder.glob("*.wav")))
    if not paths:
        raise FileNotFoundError(f"no utterance in {folder}: expected files like 03a01Wa.flac or 03a01Wa.wav")
    return [_read(path) for path in paths]


def _read(path: Path) -> Utterance:
    name = path.stem
    if len(name) < 6 or not name[:2].isdigit() or name[5] not in EMOTIONS:
        raise ValueError(f"{path.name}: expected a name like 03a01Wa.flac (speaker, text, emotion, version)")
    with MonoSound(str(path), settings=DecodeSettings(), zero_seconds=0.0) as sound:
        samples = np.concatenate(list(sound.samples_until(float("inf"))))
    return Utterance(speaker=name[:2], is_high=name[5] in HIGH_AROUSAL, samples=samples)
