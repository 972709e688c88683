"""CK+, Extended Cohn-Kanade (Lucey and others, CVPR workshops 2010), as its authors give it out.

    cohn-kanade-images/S005/001/S005_001_00000011.png
    Emotion/S005/001/S005_001_00000011_emotion.txt        one number; only 327 of the 593 sequences have one
    Landmarks/S005/001/S005_001_00000011_landmarks.txt    68 lines `x y`

A sequence goes from a neutral face to the peak of the expression. As is usual, its last three frames take its label and
its first is neutral; sequences of contempt are left out. Pictures show head and shoulders, so the face is cut by its
landmarks, with the framing of the service. The subject is the first part of the name. It comes without splits.

The form with class folders of cut pictures (often called CK+48, names `S005_001_00000011.png`) is read by
`class_folders`, which asks `subject_of` for the subjects.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from emostream.domain.emotion import EMOTIONS
from emostream.domain.face import Landmarks
from emostream.errors import SourceRejectedError
from training.data.face_set import FaceSet
from training.data.formats.listed_faces import ListedFace, first_folder, needed_folder, read_listed_faces
from training.data.formats.tables import read_text
from training.data.labels import CK_PLUS_LABELS, emotion_of_number

NUM_PEAK_FRAMES = 3
_PICTURES = ("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
_EMOTIONS = ("Emotion", "Emotion_labels/Emotion")
_LANDMARKS = ("Landmarks", "Landmarks/Landmarks")
_NAME = re.compile(r"(S\d{3})_\d{3}_\d{8}")
_NUM_POINTS = 68
# In the 68 points, as seen in the picture: both eyes, nose tip, corners of the mouth.
_LEFT_EYE, _RIGHT_EYE, _NOSE_TIP, _LEFT_MOUTH, _RIGHT_MOUTH = slice(36, 42), slice(42, 48), 30, 48, 54


def subject_of(path: Path) -> str:
    """The subject in a CK+ file name, "" when it is not such a name."""
    match = _NAME.match(path.name)
    return match[1] if match else ""


def splits_of(folder: Path) -> tuple[str, ...] | None:
    """No splits, or None when the folder does not hold CK+."""
    return None if first_folder(folder, _PICTURES) is None else ()


def load_split(folder: Path, *, split: str, show_progress: bool) -> FaceSet:
    """Read all labelled sequences, whatever the name of the split.

    Raises:
        SourceRejectedError: a part is missing, a file that is not understood, a label out of range.
    """
    del split
    pictures = needed_folder(folder, _PICTURES, data_set="CK+")
    emotions = needed_folder(folder, _EMOTIONS, data_set="CK+")
    landmarks = needed_folder(folder, _LANDMARKS, data_set="CK+")
    listed: list[ListedFace] = []
    for path in sorted(emotions.rglob("*_emotion.txt")):
        emotion = emotion_of_number(_number(path), CK_PLUS_LABELS, where=f"file {path}")
        if emotion is not None:
            sequence = path.parent.relative_to(emotions)
            listed.extend(_sequence(pictures / sequence, emotion, landmarks / sequence))
    return read_listed_faces(listed, source=folder, show_progress=show_progress)


def _sequence(pictures: Path, emotion: int, landmarks: Path) -> list[ListedFace]:
    frames = sorted(pictures.glob("*.png"))
    if not frames:
        raise SourceRejectedError(f"CK+ sequence {pictures}: expected .png frames, got none")
    neutral, peak = frames[:1], frames[1:][-NUM_PEAK_FRAMES:] or frames
    chosen = [(frame, EMOTIONS.index("neutral")) for frame in neutral] if len(frames) > 1 else []
    chosen += [(frame, emotion) for frame in peak]
    return [
        ListedFace(
            frame, label, landmarks=_five_points(landmarks / f"{frame.stem}_landmarks.txt"), subject=subject_of(frame)
        )
        for frame, label in chosen
    ]


def _number(path: Path) -> int:
    text = read_text(path)
    try:
        return int(float(text))
    except (ValueError, OverflowError) as exc:
        raise SourceRejectedError(f"file {path}: expected one number, got {text[:20]!r}") from exc


def _five_points(path: Path) -> Landmarks:
    try:
        points = np.array([float(value) for value in read_text(path).split()]).reshape(_NUM_POINTS, 2)
    except ValueError as exc:
        raise SourceRejectedError(f"landmarks {path}: expected {_NUM_POINTS} lines `x y`, got something else") from exc
    eyes = [points[eye].mean(axis=0) for eye in (_LEFT_EYE, _RIGHT_EYE)]
    five = [*eyes, points[_NOSE_TIP], points[_LEFT_MOUTH], points[_RIGHT_MOUTH]]
    return tuple((float(x), float(y)) for x, y in five)
