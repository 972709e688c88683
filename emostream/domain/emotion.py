"""The emotions, and the scores of a face."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Emotion(StrEnum):
    """The seven expressions of FER2013, in the order of that data set's labels.

    Models may have other classes, whose order comes from the model's manifest, never from this enum.
    """

    ANGRY = "angry"
    DISGUST = "disgust"
    FEAR = "fear"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISE = "surprise"
    NEUTRAL = "neutral"


EMOTIONS: tuple[str, ...] = tuple(emotion.value for emotion in Emotion)

# Probabilities are float32 and rounded in events; seven roundings to 4 digits stay within this.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class EmotionScores:
    """A probability for each class of the model, in the order of its manifest.

    Attributes:
        labels: class names, one per probability.
        probabilities: each in 0…1, with sum 1.

    Raises:
        ValueError: the lengths differ, a value is outside 0…1, or the sum is not 1.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.probabilities) or not self.labels:
            raise ValueError(
                f"expected one probability for each of {len(self.labels)} labels, got {len(self.probabilities)}"
            )
        if min(self.probabilities) < -1e-6 or max(self.probabilities) > 1 + 1e-6:
            raise ValueError(f"expected probabilities in 0…1, got {self.probabilities}")
        if not abs(sum(self.probabilities) - 1) <= _SUM_TOLERANCE:  # written so that a NaN fails
            raise ValueError(f"expected probabilities that sum to 1, got {sum(self.probabilities):.6f}")

    @property
    def dominant(self) -> str:
        """The label with the highest probability; the first one on a tie."""
        return self.labels[self.probabilities.index(max(self.probabilities))]

    @property
    def confidence(self) -> float:
        """The probability of the dominant label."""
        return max(self.probabilities)

    def strongest(self, num: int) -> dict[str, float]:
        """Label → probability of the `num` most probable labels, in manifest order.

        >>> EmotionScores(("a", "b", "c"), (0.3, 0.1, 0.6)).strongest(2)
        {'a': 0.3, 'c': 0.6}
        """
        places = sorted(range(len(self.labels)), key=lambda place: (-self.probabilities[place], place))[:num]
        return {self.labels[place]: self.probabilities[place] for place in sorted(places)}

    def as_dict(self) -> dict[str, float]:
        """Label → probability, in manifest order."""
        return dict(zip(self.labels, self.probabilities, strict=True))
