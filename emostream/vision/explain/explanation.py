"""The types of an explanation: which parts of a face the classifier's answer depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emostream.domain.emotion import EmotionScores
from emostream.domain.event import UNKNOWN, QualityFlag
from emostream.domain.face import Face

SaliencyMap = npt.NDArray[np.float32]
"""float32, S×S over a crop: by how much showing the surroundings of a pixel raises the probability of an emotion.
Negative values lower it."""


@dataclass(frozen=True, slots=True)
class RegionEffect:
    """The effect of one part of the face on the probability of an emotion.

    Attributes:
        name: for example "mouth".
        area: share of the crop that it covers, 0…1.
        evidence: share of the map's positive values that lies in it, 0…1; the regions' sum is 1.
        probability_hidden: probability of the emotion when this part is hidden.
        answer_hidden: most probable label when this part is hidden.
    """

    name: str
    area: float
    evidence: float
    probability_hidden: float
    answer_hidden: str

    @property
    def density(self) -> float:
        """Evidence relative to area: 1 is what any part of this size would have by chance."""
        return self.evidence / self.area if self.area else 0.0


@dataclass(frozen=True, slots=True)
class MapCheck:
    """Deletion and insertion scores of a map: whether it shows what the model uses (Petsiuk et al. 2018).

    Attributes:
        deletion: mean probability of the emotion while pixels are removed, those with the highest values first; low is
            good.
        insertion: mean probability while a blurred crop is sharpened in that order; high is good.
        random_deletion, random_insertion: the same for random maps, on average.
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float

    @property
    def is_passed(self) -> bool:
        """Whether the map is better than random maps in both."""
        return self.deletion < self.random_deletion and self.insertion > self.random_insertion


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """A face, the classifier's answer, and what the answer depends on.

    Attributes:
        face: in pixels of the picture.
        crop: uint8, S×S, gray: the classifier's input.
        scores: the classifier's answer.
        emotion: the label that is explained.
        saliency: the map for that label.
        regions: parts of the face, in descending order of density.
        check: quality of the map.
        quality: why the scores deserve less trust, as in events.
        is_named: whether events name the most probable emotion; else they say `unknown`.
    """

    face: Face
    crop: npt.NDArray[np.uint8]
    scores: EmotionScores
    emotion: str
    saliency: SaliencyMap
    regions: tuple[RegionEffect, ...]
    check: MapCheck
    quality: tuple[QualityFlag, ...] = ()
    is_named: bool = True

    def __post_init__(self) -> None:
        if self.saliency.shape != self.crop.shape or self.crop.ndim != 2:
            raise ValueError(f"expected a map of the crop's shape {self.crop.shape}, got {self.saliency.shape}")
        if self.emotion not in self.scores.labels:
            raise ValueError(f"expected one of {self.scores.labels}, got {self.emotion!r}")

    @property
    def probability(self) -> float:
        """Probability of the explained emotion."""
        return self.scores.as_dict()[self.emotion]

    def as_dict(self) -> dict[str, Any]:
        """Everything except pixels and map, ready for JSON; values rounded to four digits."""
        check = {name: round(getattr(self.check, name), 4) for name in MapCheck.__slots__}
        return {
            "box_xyxy": [round(value, 1) for value in self.face.box_xyxy],
            "landmarks": [[round(x, 1), round(y, 1)] for x, y in self.face.landmarks],
            "score": round(self.face.score, 4),
            "probabilities": {label: round(value, 4) for label, value in self.scores.as_dict().items()},
            "dominant": self.scores.dominant,
            "named": self.scores.dominant if self.is_named else UNKNOWN,
            "quality": list(self.quality),
            "explained": self.emotion,
            "regions": [
                {
                    "name": region.name,
                    "area": round(region.area, 4),
                    "evidence": round(region.evidence, 4),
                    "probability_hidden": round(region.probability_hidden, 4),
                    "answer_hidden": region.answer_hidden,
                }
                for region in self.regions
            ],
            "check": {**check, "passed": self.check.is_passed},
        }
