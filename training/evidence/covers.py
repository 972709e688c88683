"""Draws things before faces: masks, hands, cups, scarves, glasses, and things that hide nothing.

Crops are framed like FER2013 (`emostream/vision/detect/align.py`), so the places of eyes and mouth are known. What is
drawn is of any shade and pattern, so that a net learns whether a mouth is there, and not what a mask looks like.
Frames of glasses, beards, hats and things beside the face are drawn as well and hide nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from emostream.vision.detect.align import CROP_SIZE_PIXELS, TEMPLATE_LANDMARKS

Picture = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Draws = np.random.Generator

# All drawing is done on crops of this side.
SIDE = 48
_POINTS = TEMPLATE_LANDMARKS * (SIDE / CROP_SIZE_PIXELS)
LEFT_EYE, RIGHT_EYE, NOSE = _POINTS[:3]
MOUTH = (_POINTS[3] + _POINTS[4]) / 2
EYES = (LEFT_EYE + RIGHT_EYE) / 2
_EYE_DISTANCE = float(RIGHT_EYE[0] - LEFT_EYE[0])

# Half axes, in eye distances, of what must be seen of a mouth and of an eye.
_MOUTH_AXES, _EYE_AXES = (0.46, 0.22), (0.24, 0.14)
# Of this much hidden area on, a part counts as covered; below the other, as open; in between nothing is learned.
COVERED_FROM, OPEN_BELOW = 0.7, 0.25


def _ellipse(centre: Points, axes: tuple[float, float]) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    across, down = (axis * _EYE_DISTANCE for axis in axes)
    return np.asarray(((x - centre[0]) / across) ** 2 + ((y - centre[1]) / down) ** 2 <= 1)


_MOUTH_AREA = _ellipse(MOUTH, _MOUTH_AXES)
_EYE_AREAS = (_ellipse(LEFT_EYE, _EYE_AXES), _ellipse(RIGHT_EYE, _EYE_AXES))


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A crop with something drawn before it.

    Attributes:
        pixels: uint8, 48×48.
        eyes: 1 where both eyes are covered, 0 where they are open, NaN in between.
        mouth: the same of the mouth.
    """

    pixels: npt.NDArray[np.uint8]
    eyes: float
    mouth: float


def drawn(crop: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8], draws: Draws) -> Drawn:
    """The crop, with a cover of a random kind or none, seen by some camera.

    Args:
        crop: an open face, uint8, 48×48.
        others: more crops, n×48×48, for textures.
        draws: decides everything.
    """
    picture = crop.astype(np.float32)
    hidden = np.zeros((SIDE, SIDE), dtype=np.float32)
    kind = draws.choice(len(_KINDS), p=_SHARES)
    for draw in _KINDS[kind]:
        picture, hides = draw(picture, others, draws)
        hidden = np.maximum(hidden, hides)
    left, right = (float(hidden[area].mean()) for area in _EYE_AREAS)
    eyes, mouth = _target(min(left, right)), _target(float(hidden[_MOUTH_AREA].mean()))
    if eyes == 0 and max(left, right) > OPEN_BELOW:
        eyes = np.nan
    return Drawn(_seen(picture, draws), eyes, mouth)


def _target(share: float) -> float:
    return 1.0 if share >= COVERED_FROM else 0.0 if share < OPEN_BELOW else np.nan


# Shapes: float32, 48×48, 1 inside.


def _polygon(corners: Points) -> Picture:
    shape = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillPoly(shape, [np.round(np.asarray(corners) * 16).astype(np.int32)], 1.0, lineType=cv2.LINE_AA, shift=4)
    return shape


def _rounded(centre: Points, half_width: float, half_height: float, power: float, degrees: float) -> Picture:
    """An ellipse (power 2) to a rectangle (power 8), turned."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    angle = np.radians(degrees)
    x, y = x - centre[0], y - centre[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    distance = (np.abs(along) / half_width) ** power + (np.abs(across) / half_height) ** power
    return np.asarray(np.clip((1 - distance) * 3 + 0.5, 0, 1), np.float32)


def _below(point: Points, down: float) -> Points:
    return np.asarray(point + np.array([0.0, down]))


def _mask_shape(draws: Draws) -> Picture:
    """Over nose or upper lip to chin, with straight or bent borders."""
    d = _EYE_DISTANCE
    top = draws.uniform(EYES[1] + 0.28 * d, MOUTH[1] - 0.3 * d)
    bottom = draws.uniform(MOUTH[1] + 0.35 * d, SIDE + 6)
    upper, lower = draws.uniform(0.7, 1.4) * d, draws.uniform(0.35, 1.2) * d
    rise, sink = draws.uniform(-0.05, 0.35) * d, draws.uniform(0, 0.5) * d
    middle = MOUTH[0] + draws.uniform(-0.15, 0.15) * d
    side = draws.uniform(0.3, 0.7)
    corners = [
        (middle - upper, top + rise),
        (middle - upper * draws.uniform(0.3, 0.6), top + rise / 3),
        (middle, top),
        (middle + upper * draws.uniform(0.3, 0.6), top + rise / 3),
        (middle + upper, top + rise),
        (middle + (upper + lower) / 2, top + side * (bottom - top)),
        (middle + lower, bottom - sink),
        (middle, bottom),
        (middle - lower, bottom - sink),
        (middle - (upper + lower) / 2, top + side * (bottom - top)),
    ]
    return _polygon(np.array(corners))


def _mouth_block(draws: Draws) -> Picture:
    """A cup, a phone, a microphone, a book before the mouth."""
    d = _EYE_DISTANCE
    centre = MOUTH + draws.normal(0, 0.12, 2) * d + (0, draws.uniform(0, 0.5) * d)
    return _rounded(
        centre,
        draws.uniform(0.5, 1.3) * d,
        draws.uniform(0.35, 1.0) * d,
        float(draws.choice([2, 4, 8])),
        draws.uniform(-40, 40),
    )


def _scarf_shape(draws: Draws) -> Picture:
    """Everything below a bent line."""
    top = draws.uniform(NOSE[1] - 2, MOUTH[1] - 3)
    x = np.linspace(-8, SIDE + 8, 9)
    bend = draws.uniform(-4, 6)
    y = top + bend * ((x - SIDE / 2) / (SIDE / 2)) ** 2 + draws.uniform(-0.2, 0.2) * (x - SIDE / 2)
    return _polygon(np.concatenate([np.stack([x, y], axis=1), [[SIDE + 8, SIDE + 8], [-8, SIDE + 8]]]))


def _eye_band(draws: Draws) -> Picture:
    """A blindfold, a visor, a censor bar, a headset."""
    d = _EYE_DISTANCE
    centre = EYES + draws.normal(0, 0.06, 2) * d
    return _rounded(
        centre,
        draws.uniform(0.8, 1.8) * d,
        draws.uniform(0.2, 0.55) * d,
        float(draws.choice([4, 8])),
        draws.normal(0, 5),
    )


def _above(draws: Draws) -> Picture:
    """A hat or hair over forehead and eyes: everything above a line."""
    bottom = draws.uniform(EYES[1] + 3, NOSE[1])
    tilt = draws.uniform(-0.12, 0.12) * SIDE
    return _polygon(np.array([(-8, -8), (SIDE + 8, -8), (SIDE + 8, bottom + tilt), (-8, bottom - tilt)]))


# Materials: float32, 48×48, levels.


def _flat(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> Picture:
    return np.full((SIDE, SIDE), draws.uniform(0, 255), np.float32)


def _gradient(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> Picture:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    angle = draws.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    return np.asarray(draws.uniform(10, 245) + draws.uniform(-140, 140) * along, np.float32)


def _waves(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> Picture:
    """Folds, stripes, checks or dots."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    angle = draws.normal(0, 0.25) + draws.choice([0, np.pi / 2, draws.uniform(0, np.pi)])
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    length, phase = draws.uniform(3, 14), draws.uniform(0, 7, 2)
    wave = np.sin(y * 2 * np.pi / length + phase[0])
    form = draws.integers(4)
    if form == 1:
        wave = wave * np.sin(x * 2 * np.pi / length + phase[1])
    if form == 2:
        wave = np.sign(wave)
    if form == 3:
        wave = np.maximum(wave, 0) * np.maximum(np.sin(x * 2 * np.pi / length + phase[1]), 0) * 2
    return np.asarray(draws.uniform(20, 235) + draws.uniform(4, 70) * wave, np.float32)


def _cloud(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> Picture:
    """Noise of some grain."""
    grain = int(draws.integers(2, 16))
    noise = draws.standard_normal((grain, grain)).astype(np.float32)
    noise = np.asarray(cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(draws.uniform(20, 235) + draws.uniform(3, 50) * noise, np.float32)


def _patch(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> Picture:
    """A part of another picture, turned: hair, clothes, skin, background."""
    other = others[draws.integers(len(others))]
    side = int(draws.integers(10, 24))
    top, left = draws.integers(0, SIDE - side, 2)
    part = np.rot90(other[top : top + side, left : left + side], int(draws.integers(1, 4)))
    return np.asarray(cv2.resize(np.ascontiguousarray(part), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.float32)


def _skin(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> Picture:
    """About as bright as the cheeks, with a hand's soft light and shade."""
    row, column = int(NOSE[1]), int(NOSE[0])
    level = np.median(picture[row - 2 : row + 3, column - 9 : column + 10]) + draws.normal(0, 18)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    angle = draws.uniform(0, 2 * np.pi)
    noise = cv2.resize(draws.standard_normal((6, 6)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    shade = draws.normal(0, 40) * (x * np.cos(angle) + y * np.sin(angle)) + draws.uniform(0, 9) * np.asarray(noise)
    return np.asarray(level + shade, np.float32)


_MATERIALS = (_flat, _flat, _gradient, _waves, _waves, _cloud, _patch, _skin)


def _laid(picture: Picture, shape: Picture, level: Picture, draws: Draws) -> Picture:
    """The picture behind a shape; some have the light of the face, a shadow, a seam."""
    if draws.random() < 0.4:
        light = np.asarray(cv2.GaussianBlur(picture, (0, 0), 8), np.float32)
        level = level * (1 + draws.uniform(0.2, 0.8) * (light / max(float(light.mean()), 1.0) - 1))
    if draws.random() < 0.5:
        level = level + draws.normal(0, draws.uniform(0, 6), level.shape).astype(np.float32)
    if draws.random() < 0.3:
        shadow = np.asarray(cv2.GaussianBlur(np.roll(shape, draws.integers(-2, 3, 2), (0, 1)), (0, 0), 1.5), np.float32)
        picture = picture * (1 - draws.uniform(0.1, 0.5) * shadow)
    if draws.random() < 0.5:
        shape = np.asarray(cv2.GaussianBlur(shape, (0, 0), draws.uniform(0.3, 1.0)), np.float32)
    return np.asarray(picture * (1 - shape) + level * shape, np.float32)


Part = Callable[[Picture, npt.NDArray[np.uint8], Draws], tuple[Picture, Picture]]


def _cover(shape_of: Callable[[Draws], Picture]) -> Part:
    def draw(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> tuple[Picture, Picture]:
        shape = shape_of(draws)
        material = _MATERIALS[draws.integers(len(_MATERIALS))]
        return _laid(picture, shape, material(picture, others, draws), draws), shape

    return draw


def _hand(centre: Points) -> Part:
    """Three to five fingers side by side, with the back of the hand behind them or none."""

    def draw(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> tuple[Picture, Picture]:
        d = _EYE_DISTANCE
        num, width = int(draws.integers(3, 6)), draws.uniform(0.22, 0.36) * d
        angle = draws.uniform(-0.5, 0.5) + draws.choice([0, np.pi / 2, np.pi])
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        hidden = np.zeros((SIDE, SIDE), np.float32)
        level = _skin(picture, others, draws)
        middle = centre + draws.normal(0, 0.12, 2) * d
        if draws.random() < 0.5:  # the back of the hand
            palm = _rounded(
                middle + along * draws.uniform(0.3, 1.0) * d, 0.9 * d, width * num * 0.6, 4, np.degrees(angle)
            )
            picture, hidden = _laid(picture, palm, level, draws), palm
        for index in range(num):
            place = middle + across * (index - (num - 1) / 2) * width * draws.uniform(0.9, 1.05)
            length = draws.uniform(0.7, 1.3) * d
            finger = _rounded(place + along * draws.normal(0, 0.1) * d, length, width * 0.56, 4, np.degrees(angle))
            core = _rounded(place + along * draws.normal(0, 0.1) * d, length, width * 0.3, 2, np.degrees(angle))
            edge = draws.uniform(10, 45)
            picture = np.asarray(picture * (1 - finger) + (level - edge * (1 - core)) * finger, np.float32)
            hidden = np.maximum(hidden, finger)
        return picture, hidden

    return draw


def _sunglasses(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> tuple[Picture, Picture]:
    """Two lenses, a bridge, sometimes mirrored or with a reflection."""
    d = _EYE_DISTANCE
    lens = (draws.uniform(0.34, 0.56) * d, draws.uniform(0.24, 0.44) * d, float(draws.choice([2, 3, 6])))
    drop, tilt = draws.uniform(-0.05, 0.15) * d, draws.normal(0, 4)
    shape = np.zeros((SIDE, SIDE), np.float32)
    for eye in (LEFT_EYE, RIGHT_EYE):
        shape = np.maximum(shape, _rounded(_below(eye, drop), *lens, tilt))
    level = np.full((SIDE, SIDE), draws.uniform(0, 70), np.float32)
    if draws.random() < 0.3:
        level = _MATERIALS[draws.integers(len(_MATERIALS))](picture, others, draws)
    if draws.random() < 0.4:
        level = level + np.asarray(_gradient(picture, others, draws) * draws.uniform(0, 0.4), np.float32)
    bridge = _rounded(_below(EYES, drop - 0.1 * d), 0.3 * d, draws.uniform(0.04, 0.1) * d, 8, tilt)
    picture = _laid(picture, bridge, np.full((SIDE, SIDE), draws.uniform(0, 90), np.float32), draws)
    return _laid(picture, shape, level, draws), shape


_NOTHING = np.zeros((SIDE, SIDE), np.float32)


def _glasses(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> tuple[Picture, Picture]:
    """Frames that leave the eyes to be seen."""
    d = _EYE_DISTANCE
    half = (draws.uniform(0.36, 0.52) * d, draws.uniform(0.26, 0.42) * d)
    power, level, width = float(draws.choice([2, 3, 6])), draws.uniform(0, 120), draws.uniform(1.0, 2.4)
    for eye in (LEFT_EYE, RIGHT_EYE):
        outer = _rounded(eye, half[0] + width / 2, half[1] + width / 2, power, 0)
        inner = _rounded(eye, half[0] - width / 2, half[1] - width / 2, power, 0)
        rim = np.clip(outer - inner, 0, 1)
        picture = np.asarray(picture * (1 - rim) + level * rim, np.float32)
    bridge = _rounded(EYES, 0.16 * d, width / 2, 4, 0)
    return np.asarray(picture * (1 - bridge) + level * bridge, np.float32), _NOTHING


def _beard(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> tuple[Picture, Picture]:
    """Hair around the mouth, which stays to be seen; a moustache, or both."""
    d = _EYE_DISTANCE
    shape = np.zeros((SIDE, SIDE), np.float32)
    if draws.random() < 0.7:
        shape = _rounded(_below(MOUTH, 0.25 * d), draws.uniform(0.6, 1.1) * d, draws.uniform(0.5, 0.9) * d, 3, 0)
    if draws.random() < 0.6:
        over = _below(MOUTH, -draws.uniform(0.24, 0.32) * d)
        shape = np.maximum(shape, _rounded(over, draws.uniform(0.35, 0.6) * d, draws.uniform(0.07, 0.14) * d, 3, 0))
    lips = _rounded(MOUTH, draws.uniform(0.4, 0.55) * d, draws.uniform(0.14, 0.24) * d, 2, 0)
    shape = shape * (1 - lips) * (picture > 0)
    hair = draws.standard_normal((SIDE, SIDE)).astype(np.float32) * draws.uniform(5, 25)
    dark = draws.uniform(0.25, 0.8)
    hair = np.asarray(cv2.GaussianBlur(hair, (0, 0), draws.uniform(0.4, 1.0)), np.float32) + picture * dark
    shape = np.asarray(cv2.GaussianBlur(shape, (0, 0), draws.uniform(0.8, 2)), np.float32) * draws.uniform(0.5, 1)
    return np.asarray(picture * (1 - shape) + hair * shape, np.float32), _NOTHING


def _beside(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> tuple[Picture, Picture]:
    """Something at the border: a hat, a phone at the ear, a collar, another head, a hand at the cheek."""
    angle = draws.uniform(0, 2 * np.pi)
    centre = np.array([SIDE / 2, SIDE / 2]) + draws.uniform(0.5, 0.62) * SIDE * np.array([np.cos(angle), np.sin(angle)])
    shape = _rounded(
        centre,
        draws.uniform(0.12, 0.32) * SIDE,
        draws.uniform(0.12, 0.3) * SIDE,
        float(draws.choice([2, 4, 8])),
        draws.uniform(0, 180),
    )
    material = _MATERIALS[draws.integers(len(_MATERIALS))]
    return _laid(picture, shape, material(picture, others, draws), draws), shape


def _cut(picture: Picture, others: npt.NDArray[np.uint8], draws: Draws) -> tuple[Picture, Picture]:
    """The picture ends within the face: its border is repeated, or something plain follows."""
    rows = np.arange(SIDE)
    is_below = draws.random() < 0.7
    line = int(draws.integers(28, SIDE - 1)) if is_below else int(draws.integers(1, 26))
    outside = rows > line if is_below else rows < line
    picture = picture.copy()
    picture[outside] = picture[line] if draws.random() < 0.6 else draws.uniform(0, 255)
    shape = np.zeros((SIDE, SIDE), np.float32)
    shape[outside] = 1
    return picture, shape


_mouth_hand, _eye_hand = _hand(MOUTH), _hand(EYES)
_mask, _block, _scarf, _band, _hat = (
    _cover(each) for each in (_mask_shape, _mouth_block, _scarf_shape, _eye_band, _above)
)
_CHOICES: tuple[tuple[float, tuple[Part, ...]], ...] = (
    (0.16, ()),
    (0.06, (_glasses,)),
    (0.09, (_beard,)),
    (0.02, (_beard, _glasses)),
    (0.12, (_beside,)),
    (0.04, (_beside, _beside)),
    (0.12, (_mask,)),
    (0.03, (_glasses, _mask)),
    (0.07, (_block,)),
    (0.05, (_scarf,)),
    (0.07, (_mouth_hand,)),
    (0.07, (_sunglasses,)),
    (0.02, (_beard, _sunglasses)),
    (0.03, (_band,)),
    (0.01, (_hat,)),
    (0.01, (_eye_hand,)),
    (0.01, (_sunglasses, _mask)),
    (0.02, (_cut,)),
)
_KINDS = [parts for _, parts in _CHOICES]
_SHARES = np.array([share for share, _ in _CHOICES])
_SHARES = _SHARES / _SHARES.sum()


def _seen(picture: Picture, draws: Draws) -> npt.NDArray[np.uint8]:
    """As a detector frames it and a camera sees it: moved, larger or smaller, mirrored, blurred, compressed."""
    scale, angle = np.exp(draws.normal(0, 0.08)), np.radians(draws.normal(0, 5))
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    shift = draws.normal(0, 0.04, 2) * SIDE
    middle = (SIDE - 1) / 2
    matrix = np.array(
        [[a, -b, middle - a * middle + b * middle + shift[0]], [b, a, middle - b * middle - a * middle + shift[1]]]
    )
    picture = np.asarray(cv2.warpAffine(picture, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE), np.float32)
    if draws.random() < 0.5:
        picture = picture[:, ::-1]
    if draws.random() < 0.3:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), draws.uniform(0.3, 1.3)), np.float32)
    if draws.random() < 0.2:
        small = int(draws.integers(16, 40))
        picture = np.asarray(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), np.float32)
        picture = np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.float32)
    if draws.random() < 0.4:
        picture = np.asarray((np.clip(picture, 0, 255) / 255) ** np.exp(draws.normal(0, 0.35)) * 255, np.float32)
    if draws.random() < 0.3:
        picture = np.asarray(picture + draws.normal(0, draws.uniform(0, 8), picture.shape), np.float32)
    pixels = np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)
    if draws.random() < 0.2:
        options = [cv2.IMWRITE_JPEG_QUALITY, int(draws.integers(25, 90))]
        pixels = np.asarray(
            cv2.imdecode(cv2.imencode(".jpg", np.ascontiguousarray(pixels), options)[1], cv2.IMREAD_GRAYSCALE), np.uint8
        )
    return np.ascontiguousarray(pixels)
