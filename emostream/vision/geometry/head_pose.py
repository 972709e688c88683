"""Where heads turn to: yaw, pitch and roll from the five landmarks of a face."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# A head in eye distances: x to the right and y down as a camera sees it, z towards it; left eye, right eye, nose tip,
# corners of the mouth. x and y are those of `TEMPLATE_LANDMARKS` of `vision/detect/align.py`, the medians of FER2013,
# so that its median face looks straight ahead. z is that of the canonical face of MediaPipe (Lugaresi et al. 2019).
HEAD_POINTS = np.array(
    [[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.539, 0.57], [-0.396, 0.952, 0.1], [0.396, 0.952, 0.1]]
)
_CENTRED = HEAD_POINTS - HEAD_POINTS.mean(axis=0)
# Landmarks, 5×2 → the best linear map from the head to them, 2×3, transposed.
_SOLVE = np.linalg.pinv(_CENTRED)


def head_poses(landmarks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Yaw, pitch and roll of heads in degrees.

    The perspective-n-point problem with a distant camera (scaled orthographic projection) has a closed solution: the
    linear map from the head's points to the landmarks (DeMenthon & Davis 1995), and the rotation next to it (Procrustes
    by singular value decomposition). One average head stands for all, so a degree is not exact: faces whose nose is
    longer by a fifth seem to turn by a fifth more.

    Args:
        landmarks: n×5×2, left eye, right eye, nose tip, corners of the mouth, in square pixels.

    Returns:
        float64, n×3. Yaw is positive where the nose points to the right of the picture, pitch where it points up, roll
        where the head leans clockwise; all are 0 for a face that looks into the camera, and for points that coincide.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if not len(points):
        return np.empty((0, 3))
    maps = np.swapaxes(points - points.mean(axis=1, keepdims=True), 1, 2) @ _SOLVE.T  # n×2×3
    left, sizes, right = np.linalg.svd(maps, full_matrices=False)
    rows = left @ right  # of the rotation from head to camera
    (right_x, below_x, ahead_x), (right_y, below_y, ahead_y) = rows.transpose(1, 2, 0)
    # The third row of the rotation is the cross product of the other two.
    right_z = below_x * ahead_y - ahead_x * below_y
    ahead_z = right_x * below_y - below_x * right_y
    yaw = np.arctan2(ahead_x, ahead_z)
    # What remains once yaw and pitch are taken away is a turn in the plane of the picture.
    sine, cosine = np.sin(yaw), np.cos(yaw)
    down = -ahead_y * sine * right_x + (ahead_z * cosine + ahead_x * sine) * right_y - ahead_y * cosine * right_z
    angles = np.stack([yaw, -np.arcsin(np.clip(ahead_y, -1, 1)), np.arctan2(down, cosine * right_x - sine * right_z)])
    return np.where(sizes[:, :1] > 0, np.degrees(angles.T), 0.0)
