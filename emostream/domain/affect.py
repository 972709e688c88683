"""Valence and arousal, derived from the probabilities of emotions."""

from __future__ import annotations

from collections.abc import Sequence

AFFECT: dict[str, tuple[float, float]] = {
    "angry": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "happy": (0.81, 0.51),
    "sad": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
    "neutral": (0.0, 0.0),
}
"""Emotion → pleasure (valence) and arousal, −1 to 1.

Mean ratings of the words angry, disgusted, fearful, happy, sad and surprised by J. A. Russell and A. Mehrabian,
"Evidence for a three-factor theory of emotions", Journal of Research in Personality 11 (1977), 273–294. Neutral is the
origin.
"""


def derived_affect(labels: Sequence[str], probabilities: Sequence[float]) -> tuple[float, float] | None:
    """Valence and arousal of a distribution: the mean of its emotions' coordinates.

    Args:
        labels: the classes of the model.
        probabilities: one for each, with sum 1.

    Returns:
        None where the table lacks a class.

    >>> derived_affect(["happy", "neutral"], [0.5, 0.5])
    (0.405, 0.255)
    >>> derived_affect(["happy", "bored"], [0.5, 0.5]) is None
    True
    """
    if not all(label in AFFECT for label in labels):
        return None
    points = [AFFECT[label] for label in labels]
    # Float32 probabilities may sum to slightly more than 1.
    valence, arousal = (
        min(max(sum(share * point[axis] for share, point in zip(probabilities, points, strict=True)), -1.0), 1.0)
        for axis in (0, 1)
    )
    return valence, arousal
