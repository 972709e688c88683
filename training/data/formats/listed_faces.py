"""Picture files that a data set names one by one, with a label each: read and cut as the service cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.domain.emotion import EMOTIONS
from emostream.domain.face import BoxXyxy, Face, Landmarks
from emostream.errors import SourceRejectedError
from emostream.vision.classify.preprocess import CROP_SIZE_PIXELS, crop_from_picture
from emostream.vision.detect.align import TEMPLATE_BOX, TEMPLATE_LANDMARKS, crop_face
from emostream.vision.geometry.similarity import inverse_similarity, similarity_from_points, transform_points
from training.data.face_set import FaceSet, build_face_set, read_gray

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm")


@dataclass(frozen=True, slots=True)
class ListedFace:
    """One labelled face in a picture file.

    Attributes:
        path: the file; colour becomes gray.
        emotion: class index, of `EMOTIONS` where the data set has no others, or None to leave the face out.
        box_xyxy: the part of the picture to take, framed like FER2013, in pixels; None for the whole picture.
        landmarks: five points to turn the face upright by, as in `Face`; with them no box is needed.
        subject: who it is, "" where not known.
    """

    path: Path
    emotion: int | None
    box_xyxy: BoxXyxy | None = None
    landmarks: Landmarks = ()
    subject: str = ""


def read_listed_faces(
    listed: Sequence[ListedFace], *, source: Path, show_progress: bool, class_names: tuple[str, ...] = EMOTIONS
) -> FaceSet:
    """Read every face that is not left out, straight to the size of a crop, in the order of the list.

    Faces of one picture should follow each other: the file is then read once.

    Raises:
        SourceRejectedError: no faces at all, an unreadable picture, or a box outside its picture.
    """
    kept = [(face, face.emotion) for face in listed if face.emotion is not None]
    crops = np.empty((len(kept), CROP_SIZE_PIXELS, CROP_SIZE_PIXELS), dtype=np.uint8)
    last_path, picture = None, np.empty((0, 0), dtype=np.uint8)
    for place, (face, _) in enumerate(tqdm(kept, desc="pictures", disable=not show_progress)):
        if face.path != last_path:
            last_path, picture = face.path, read_gray(face.path)
        crops[place] = _cut(picture, face)
    subjects = np.array([face.subject for face, _ in kept])
    return build_face_set(
        crops,
        np.array([emotion for _, emotion in kept], dtype=np.int64),
        source=source,
        subjects=subjects if any(subjects) else None,
        class_names=class_names,
    )


def _cut(picture: npt.NDArray[np.uint8], face: ListedFace) -> npt.NDArray[np.uint8]:
    if face.landmarks:
        return crop_face(picture, face_from_landmarks(face.landmarks))
    if face.box_xyxy is not None:
        return crop_from_picture(square_around(picture, face.box_xyxy, source=face.path))
    return crop_from_picture(picture)


def face_from_landmarks(landmarks: Landmarks) -> Face:
    """The face whose box stands to these five points as the service's detector sets it (`vision.detect.align`)."""
    to_frame = inverse_similarity(similarity_from_points(landmarks, TEMPLATE_LANDMARKS))
    corners = np.reshape(TEMPLATE_BOX, (2, 2))
    centre = transform_points(to_frame, [corners.mean(axis=0)])[0]
    # Upright around its centre: the crop is turned by the landmarks, not by the box.
    half = (corners[1] - corners[0]) / 2 * np.hypot(to_frame[0, 0], to_frame[1, 0])
    (x0, y0), (x1, y1) = (centre - half).tolist(), (centre + half).tolist()
    return Face(box_xyxy=(x0, y0, x1, y1), score=1.0, landmarks=landmarks)


def square_around(picture: npt.NDArray[np.uint8], box_xyxy: BoxXyxy, *, source: Path) -> npt.NDArray[np.uint8]:
    """The smallest square about the box (uint8, s×s): no face is stretched; past the picture its border repeats.

    Raises:
        SourceRejectedError: the box has no area or lies wholly outside.
    """
    x0, y0, x1, y1 = box_xyxy
    height, width = picture.shape
    if not (x0 < x1 and y0 < y1 and x0 < width and y0 < height and x1 > 0 and y1 > 0):
        raise SourceRejectedError(
            f"picture {source}: expected a face box (x0, y0, x1, y1) inside {width}×{height} pixels, got {box_xyxy}"
        )
    side = max(round(max(x1 - x0, y1 - y0)), 1)
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return picture[np.ix_(rows, columns)]


def first_folder(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these sub-folders that exists."""
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def first_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these files that exists."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def needed_file(folder: Path, names: Sequence[str], *, data_set: str) -> Path:
    """Like `first_file`.

    Raises:
        SourceRejectedError: none exists.
    """
    found = first_file(folder, names)
    if found is None:
        raise SourceRejectedError(f"{data_set} in {folder}: expected a file {' or '.join(names)}, got none")
    return found


def needed_folder(folder: Path, names: Sequence[str], *, data_set: str) -> Path:
    """Like `first_folder`.

    Raises:
        SourceRejectedError: none exists.
    """
    found = first_folder(folder, names)
    if found is None:
        raise SourceRejectedError(f"{data_set} in {folder}: expected a folder {' or '.join(names)}, got none")
    return found
