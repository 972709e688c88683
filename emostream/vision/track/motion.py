"""Predicts a box by a Kalman filter with constant velocity (Kalman 1960; as in SORT, Bewley et al. 2016).

Centre x, centre y, width and height are independent and equally uncertain in units of the box's size, so one 2×2
covariance serves all four.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emostream.vision.geometry.similarity import PlaneSimilarity

Array = npt.NDArray[np.float64]

# In units of the box's size (mean of its sides). A detector's boxes jitter by a few per cent.
_MEASUREMENT_DEVIATION = 0.05
# People turn and nod: velocity changes by about one size per second within a second.
_VELOCITY_CHANGE_PER_SECOND = 1.5
_INITIAL_VELOCITY_DEVIATION = 1.0
# An unseen box slows down with this time constant.
_SLOWING_SECONDS = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class BoxMotion:
    """The estimated state of a box at one time.

    Attributes:
        values: float, 4: centre x, centre y, width, height in pixels.
        velocities: float, 4: the same per second.
        covariance: float, 2×2: of value and velocity, in units of the box's size.
        at_seconds: the time of the estimate.
    """

    values: Array
    velocities: Array
    covariance: Array
    at_seconds: float

    @property
    def box_xyxy(self) -> Array:
        """The box as x0, y0, x1, y1."""
        half = self.values[2:] / 2
        return np.concatenate([self.values[:2] - half, self.values[:2] + half])

    @property
    def size(self) -> float:
        """Mean of width and height in pixels."""
        return float(self.values[2:].mean())

    @property
    def position_deviation(self) -> float:
        """Standard deviation of a measurement's distance from the estimate, in units of the box's size."""
        return math.sqrt(self.covariance[0, 0] + _MEASUREMENT_DEVIATION**2)


def motion_from_box(box_xyxy: npt.ArrayLike, *, at_seconds: float) -> BoxMotion:
    """The state of a box seen for the first time: velocity unknown."""
    covariance = np.diag([_MEASUREMENT_DEVIATION**2, _INITIAL_VELOCITY_DEVIATION**2])
    return BoxMotion(_values_from_box(box_xyxy), np.zeros(4), covariance, at_seconds)


def predict(motion: BoxMotion, *, at_seconds: float) -> BoxMotion:
    """The state at a later time, with larger uncertainty. An earlier time changes nothing."""
    elapsed = max(at_seconds - motion.at_seconds, 0.0)
    decay = math.exp(-elapsed / _SLOWING_SECONDS)
    reach = _SLOWING_SECONDS * (1 - decay)
    transition = np.array([[1.0, reach], [0.0, decay]])
    noise = _VELOCITY_CHANGE_PER_SECOND**2 * np.array(
        [[elapsed**3 / 3, elapsed**2 / 2], [elapsed**2 / 2, elapsed]]
    )  # white acceleration
    values = motion.values + reach * motion.velocities
    values[2:] = np.maximum(values[2:], 1.0)  # a shrinking box never vanishes
    covariance = transition @ motion.covariance @ transition.T + noise
    return BoxMotion(values, decay * motion.velocities, covariance, motion.at_seconds + elapsed)


def correct(predicted: BoxMotion, box_xyxy: npt.ArrayLike) -> BoxMotion:
    """Update the prediction with a box measured at its time."""
    innovation = _values_from_box(box_xyxy) - predicted.values
    gain = predicted.covariance[:, 0] / predicted.position_deviation**2
    covariance = predicted.covariance - np.outer(gain, predicted.covariance[0])
    return BoxMotion(
        predicted.values + gain[0] * innovation,
        predicted.velocities + gain[1] * innovation,
        (covariance + covariance.T) / 2,
        predicted.at_seconds,
    )


def transform(motion: BoxMotion, similarity: PlaneSimilarity) -> BoxMotion:
    """The state in other pixels: of a picture of the same scene that is shifted or has another size."""
    centre = similarity.factor * complex(*motion.values[:2]) + similarity.shift
    velocity = similarity.factor * complex(*motion.velocities[:2])
    scale = np.abs(similarity.factor)
    return dataclasses.replace(
        motion,
        values=np.concatenate([centre.view(np.float64), scale * motion.values[2:]]),
        velocities=np.concatenate([velocity.view(np.float64), scale * motion.velocities[2:]]),
    )


def _values_from_box(box_xyxy: npt.ArrayLike) -> Array:
    box = np.asarray(box_xyxy, dtype=np.float64)
    return np.concatenate([(box[:2] + box[2:]) / 2, box[2:] - box[:2]])
