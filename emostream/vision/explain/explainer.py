"""Explains a classifier's answer for one face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emostream.domain.emotion import EmotionScores
from emostream.domain.face import Face
from emostream.errors import ConfigError
from emostream.vision.explain.explanation import Explanation, RegionEffect, SaliencyMap
from emostream.vision.explain.faithfulness import check_map
from emostream.vision.explain.regions import hide, region_masks
from emostream.vision.explain.rise import Classify, Crops, Masks, saliency_maps


def explain_face(
    classify: Classify,
    *,
    labels: Sequence[str],
    face: Face,
    crop: Crops,
    landmarks_in_crop: npt.ArrayLike,
    masks: Masks,
    emotion: str | None = None,
) -> Explanation:
    """Explain the model's answer for a face, or its probability of another emotion.

    Args:
        classify: the model, on any engine; called a few times with some hundred crops.
        labels: labels of the columns of its results.
        face: the face, in pixels of the picture.
        crop: uint8, S×S, aligned as the model expects.
        landmarks_in_crop: the face's five landmarks in pixels of the crop.
        masks: from `random_masks`, for crops of this size; can be reused for many faces.
        emotion: label to explain; None means the most probable one.

    Raises:
        ConfigError: the model has no such label.
        InferenceError: the model could not be run.
    """
    if emotion is not None and emotion not in labels:
        raise ConfigError(f"unknown emotion {emotion!r}; the model's labels are {', '.join(labels)}")
    scores = EmotionScores(tuple(labels), tuple(float(value) for value in classify(crop[None])[0]))
    explained = emotion or scores.dominant
    column = list(labels).index(explained)
    saliency = saliency_maps(classify, crop, masks)[column]
    return Explanation(
        face=face,
        crop=crop,
        scores=scores,
        emotion=explained,
        saliency=saliency,
        regions=_region_effects(classify, crop, saliency, landmarks_in_crop, labels=labels, column=column),
        check=check_map(classify, crop, saliency, column=column),
    )


def _region_effects(
    classify: Classify,
    crop: Crops,
    saliency: SaliencyMap,
    landmarks: npt.ArrayLike,
    *,
    labels: Sequence[str],
    column: int,
) -> tuple[RegionEffect, ...]:
    regions = {name: mask for name, mask in region_masks(landmarks, side=crop.shape[0]).items() if mask.any()}
    answers = classify(np.stack([hide(crop, mask) for mask in regions.values()]))
    evidence = np.maximum(saliency, 0)
    total = float(evidence.sum()) or 1.0  # a map may be negative everywhere
    effects = [
        RegionEffect(
            name=name,
            area=float(mask.mean()),
            evidence=float(evidence[mask].sum()) / total,
            probability_hidden=float(answer[column]),
            answer_hidden=labels[int(answer.argmax())],
        )
        for (name, mask), answer in zip(regions.items(), answers, strict=True)
    ]
    return tuple(sorted(effects, key=lambda effect: -effect.density))
