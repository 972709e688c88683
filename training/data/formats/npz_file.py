"""A set in one NumPy file: `images` uint8 n×s×s and `label` n.

Optional: `votes` n×10, `duplicate_of_training` n, `subject` n (text or whole numbers: who is in the picture), and
`class_names` c (text: what the labels 0…c − 1 stand for, where they are not FER2013's seven; then without votes).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emostream.domain.emotion import EMOTIONS
from emostream.errors import SourceRejectedError
from training.data.face_set import FaceSet, build_face_set


def load_npz(path: Path) -> FaceSet:
    """Read the set; nothing in the file is executed.

    Raises:
        SourceRejectedError: damaged file, missing arrays, wrong types or shapes.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as exc:
        # np.load gives a bare array, which is no context manager, for a renamed .npy file.
        raise SourceRejectedError(f"file {path} is not a readable .npz file: {str(exc).splitlines()[0]}") from exc
    for name in ("images", "label"):
        if name not in arrays:
            raise SourceRejectedError(
                f"file {path} has no array {name!r}; expected images and label, got {', '.join(arrays) or 'nothing'}"
            )
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1] != images.shape[2] or images.shape[1] < 2:
        raise SourceRejectedError(f"file {path}: expected images uint8 n×48×48, got {images.dtype} {images.shape}")
    votes, duplicates, subjects = (arrays.get(name) for name in ("votes", "duplicate_of_training", "subject"))
    class_names = _class_names(arrays.get("class_names"), path=path)
    if votes is not None and class_names != EMOTIONS:
        raise SourceRejectedError(
            f"file {path}: expected votes with the classes {', '.join(EMOTIONS)} only, got {', '.join(class_names)}; "
            "leave out the array votes or class_names"
        )
    return build_face_set(
        images,
        _vector(arrays["label"], name="label", path=path).astype(np.int64),
        source=path,
        votes=None if votes is None else _numbers(votes, name="votes", path=path).astype(np.float32),
        duplicate_of_training=(
            None
            if duplicates is None
            else _vector(duplicates, name="duplicate_of_training", path=path).astype(np.bool_)
        ),
        subjects=None if subjects is None else _subjects(subjects, path=path),
        class_names=class_names,
    )


def _class_names(array: npt.NDArray[np.generic] | None, *, path: Path) -> tuple[str, ...]:
    if array is None:
        return EMOTIONS
    if array.dtype.kind != "U" or array.ndim != 1 or len(set(array.tolist())) != len(array):
        raise SourceRejectedError(
            f"file {path}: expected class_names as different texts, got {array.dtype} {array.shape}"
        )
    return tuple(str(name) for name in array)


def _subjects(array: npt.NDArray[np.generic], *, path: Path) -> npt.NDArray[np.str_]:
    if array.dtype.kind not in "iuU" or array.ndim != 1:
        raise SourceRejectedError(
            f"file {path}: expected subject as text or whole numbers n, got {array.dtype} {array.shape}"
        )
    return array.astype(np.str_)


def _numbers(array: npt.NDArray[np.generic], *, name: str, path: Path) -> npt.NDArray[np.generic]:
    if array.dtype.kind not in "biuf":
        raise SourceRejectedError(f"file {path}: expected numbers in {name}, got {array.dtype}")
    return array


def _vector(array: npt.NDArray[np.generic], *, name: str, path: Path) -> npt.NDArray[np.generic]:
    if array.dtype.kind not in "biu" or array.ndim != 1:
        raise SourceRejectedError(f"file {path}: expected {name} as whole numbers n, got {array.dtype} {array.shape}")
    return array
