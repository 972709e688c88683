"""Divides a face's crop into parts, by its five landmarks.

Positions are in the face's own coordinates: the origin between the eyes, x along them, y down the face, the distance of
the eyes as unit. The parts are a partition: every pixel belongs to exactly one.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from emostream.vision.explain.rise import Crops

Mask = npt.NDArray[np.bool_]

REGIONS = ("forehead", "brows", "eyes", "nose", "cheeks", "mouth", "chin", "surroundings")
"""From top to bottom; the surroundings are hair, ears, neck and background."""

# In a face seen from the side the eyes are close together: the distance from eyes to mouth limits the unit from below.
_MIN_UNIT_OF_EYE_TO_MOUTH = 0.8
_INPAINT_RADIUS_PIXELS = 4


def region_masks(landmarks: npt.ArrayLike, *, side: int) -> dict[str, Mask]:
    """The parts of a face.

    Args:
        landmarks: five (x, y) in pixels of the crop: eyes, nose, corners of the mouth, left to right.
        side: side of the crop in pixels.

    Returns:
        Region → bool side×side; together a partition of the crop.
    """
    x, y, points = _face_frame(np.asarray(landmarks, dtype=np.float64), side=side)
    nose, left_corner, right_corner = points[2:]
    mouth = (left_corner + right_corner) / 2
    half_mouth = abs(right_corner[0] - left_corner[0]) / 2
    is_beside_nose = np.abs(x - nose[0] * np.clip(y / max(nose[1], 0.1), 0, 1)) > 0.22
    is_face = _is_in_ellipse(x, y, centre=(mouth[0] / 2, 0.42), radii=(1.05, 1.4))
    # A pixel belongs to the first region that contains it.
    wanted = {
        "mouth": _is_in_ellipse(x, y, centre=(mouth[0], mouth[1]), radii=(half_mouth + 0.18, 0.28)),
        "eyes": (np.abs(y) < 0.2) & (np.abs(x) < 0.9) & (is_beside_nose | (y < -0.1)),
        "brows": (y > -0.54) & (y <= -0.2) & (np.abs(x) < 1.0),
        "nose": (y >= -0.2) & (y < nose[1] + 0.2) & ~is_beside_nose,
        "forehead": is_face & (y <= -0.54),
        "chin": is_face & (y > mouth[1]) & (np.abs(x - mouth[0]) < 0.6),
        "cheeks": is_face,
        "surroundings": np.ones_like(is_face),
    }
    masks: dict[str, Mask] = {}
    taken = np.zeros_like(is_face)
    for name, mask in wanted.items():
        masks[name] = mask & ~taken
        taken |= mask
    return {name: masks[name] for name in REGIONS}


def _face_frame(
    landmarks: npt.NDArray[np.float64], *, side: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """x and y of every pixel in the face's coordinates, and the landmarks in them."""
    left_eye, right_eye, _, left_corner, right_corner = landmarks
    centre = (left_eye + right_eye) / 2
    to_mouth = (left_corner + right_corner) / 2 - centre
    along = right_eye - left_eye
    length = float(np.hypot(*along))
    unit = max(length, _MIN_UNIT_OF_EYE_TO_MOUTH * float(np.hypot(*to_mouth)), 1.0)
    across = along / length if length > 0 else np.array([1.0, 0.0])
    down = np.array([-across[1], across[0]])
    if down @ to_mouth < 0:  # the eyes were given in the other order
        down = -down
    turn = np.stack([across, down], axis=1) / unit
    rows, columns = np.mgrid[:side, :side] + 0.5
    pixels = (np.stack([columns, rows], axis=-1) - centre) @ turn
    return pixels[..., 0], pixels[..., 1], (landmarks - centre) @ turn


def _is_in_ellipse(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], *, centre: tuple[float, float], radii: tuple[float, float]
) -> Mask:
    return np.asarray(((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 <= 1)


def hide(crop: Crops, mask: Mask) -> Crops:
    """The crop with one part painted over from its border inwards (Telea 2004): uint8, S×S.

    A face without a mouth is more like the model's usual input than one with a gray patch, and unlike blur it leaves
    nothing of a smile.
    """
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(cv2.inpaint(crop, grown, _INPAINT_RADIUS_PIXELS, cv2.INPAINT_TELEA), dtype=np.uint8)
