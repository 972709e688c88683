"""Made clips of people whose places are known: they enter, leave, return, cross and are cut to.

The heads are those of the portraits that the demo uses; each is pasted onto a background of smooth noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from emostream.cli.bench.demo_clip import load_portraits
from emostream.domain.face import BoxXyxy
from emostream.domain.frame import Frame
from tests.media import make_clip

Rgb = npt.NDArray[np.uint8]

WIDTH, HEIGHT, FPS = 640, 360, 25

# Where the detector finds the face of each portrait, x0, y0, x1, y1.
_FACES_IN_PORTRAITS = ((185, 62, 268, 175), (177, 123, 355, 344))
_HEAD_PER_FACE = 1.5  # of the box: hair, chin and neck

Place = tuple[float, float, float]
"""Centre x, centre y and height of a face, in pixels."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a scene.

    Attributes:
        number: which head, and who it is.
        place: where the face is in each frame of the scene; None while it is not there.
    """

    number: int
    place: Callable[[int], Place | None]


@dataclass(frozen=True, slots=True)
class Scene:
    """What is seen between two cuts; who comes later stands in front."""

    background: int
    num_frames: int
    people: Sequence[Person]


@dataclass(frozen=True, slots=True)
class TrueFace:
    """A face that can be seen.

    Attributes:
        person: who.
        box_xyxy: pixels; may reach over the border.
        visible: share of the box that is inside the picture and behind nobody.
    """

    person: int
    box_xyxy: BoxXyxy
    visible: float


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a clip and what is in it."""

    rgb: Rgb
    faces: tuple[TrueFace, ...]


def shots_of(scenes: Sequence[Scene]) -> Iterator[Shot]:
    """Picture by picture."""
    for scene in scenes:
        background = _background(scene.background)
        for index in range(scene.num_frames):
            picture = background.copy()
            placed = [(person.number, place) for person in scene.people if (place := person.place(index)) is not None]
            owner = np.full((HEIGHT, WIDTH), -1, np.int8)
            for position, (number, place) in enumerate(placed):
                _paste(picture, number, place, owner=owner, position=position)
            yield Shot(picture, tuple(_true_face(*each, owner=owner, position=i) for i, each in enumerate(placed)))


def frames_from(shots: Sequence[Shot], *, fps: float = FPS) -> list[Frame]:
    """The frames a source would yield."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Frame(
            "clip",
            index,
            index / fps,
            start + timedelta(seconds=index / fps),
            np.asarray(cv2.cvtColor(shot.rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8),
            load_rgb=lambda rgb=shot.rgb: rgb,  # type: ignore[misc]
        )
        for index, shot in enumerate(shots)
    ]


def make_people_clip(path: Path, shots: Sequence[Shot], *, audio: bool = False) -> Path:
    """Encode a clip."""
    return make_clip(
        path,
        num_frames=len(shots),
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
        picture=lambda index: shots[index].rgb,
        audio=audio,
        options={"crf": "16", "preset": "veryfast"},
    )


def along(start: tuple[float, float], step: tuple[float, float], height: float) -> Callable[[int], Place]:
    """A face that moves at a constant speed."""
    return lambda index: (start[0] + step[0] * index, start[1] + step[1] * index, height)


def clearness(shot: Shot, shown: Rgb, face: TrueFace) -> float:
    """How much of the fine detail of a face is still there in a picture shown of it: 1 all, 0 nothing."""
    x0, y0, x1, y1 = (round(value) for value in face.box_xyxy)
    part = (slice(max(y0, 0), max(y1, 0)), slice(max(x0, 0), max(x1, 0)))
    before, after = _detail(shot.rgb)[part].ravel(), _detail(shown)[part].ravel()
    return float(before @ after) / max(float(np.sqrt((before @ before) * (after @ after))), 1e-6)


def _detail(rgb: Rgb) -> npt.NDArray[np.float32]:
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(gray - cv2.GaussianBlur(gray, (0, 0), 4), dtype=np.float32)


@cache
def _background(seed: int) -> Rgb:
    random = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(random.normal(size=(HEIGHT, WIDTH, 3)), (0, 0), WIDTH / 25)
    fine = cv2.GaussianBlur(random.normal(size=(HEIGHT, WIDTH, 3)), (0, 0), 2)
    picture = 115 + 45 * noise / noise.std() + 6 * fine / fine.std()
    return np.asarray(np.clip(picture, 0, 255), dtype=np.uint8)


@cache
def _head(number: int) -> tuple[Rgb, npt.NDArray[np.float32], float]:
    """Pixels, opacity, and the height of the face in them; the face is in the middle. Odd rounds are mirrored."""
    portraits = load_portraits()
    portrait, box = portraits[number % 2], _FACES_IN_PORTRAITS[number % 2]
    centre_x, centre_y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    half_x, half_y = (round(_HEAD_PER_FACE * (box[i + 2] - box[i]) / 2) for i in (0, 1))
    top, left = max(centre_y - half_y, 0), centre_x - half_x
    head = portrait[top : centre_y + half_y, left : centre_x + half_x]
    head = np.pad(head, ((2 * half_y - len(head), 0), (0, 0), (0, 0)), mode="edge")
    if (number // 2) % 2:
        head = np.ascontiguousarray(head[:, ::-1])
    rows, columns = np.indices(head.shape[:2]) / np.array(head.shape[:2])[:, None, None] * 2 - 1
    opacity = np.clip((1 - np.hypot(rows, columns)) / 0.06, 0, 1).astype(np.float32)
    return head, opacity, float(box[3] - box[1])


def _paste(picture: Rgb, number: int, place: Place, *, owner: npt.NDArray[np.int8], position: int) -> None:
    head, opacity, face_height = _head(number)
    x, y, height = place
    scale = height / face_height
    to_picture = np.array([[scale, 0, x - scale * head.shape[1] / 2], [0, scale, y - scale * head.shape[0] / 2]])
    size = (WIDTH, HEIGHT)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = cv2.warpAffine(head, to_picture, size, flags=interpolation)
    alpha = cv2.warpAffine(opacity, to_picture, size)[:, :, None]
    picture[:] = np.rint(alpha * pixels + (1 - alpha) * picture)
    owner[alpha[:, :, 0] > 0.5] = position


def _true_face(number: int, place: Place, *, owner: npt.NDArray[np.int8], position: int) -> TrueFace:
    x, y, height = place
    box = _FACES_IN_PORTRAITS[number % 2]
    half_x, half_y = height * (box[2] - box[0]) / (box[3] - box[1]) / 2, height / 2
    left, top, right, bottom = (round(value) for value in (x - half_x, y - half_y, x + half_x, y + half_y))
    inside = owner[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    visible = float((inside == position).sum()) / max((right - left) * (bottom - top), 1)
    return TrueFace(number, (x - half_x, y - half_y, x + half_x, y + half_y), visible)
