"""Do maps show what a net uses? Deletion and insertion over many pictures, and the randomisation test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import nn
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.vision.explain.faithfulness import area_under, deletion_steps, insertion_steps
from emostream.vision.explain.rise import Classify
from training.explain.cam import Maps
from training.nets.build import FaceNet

CHANCE = "chance"
"""Name of the maps that show nothing, beside which the others are held."""

Crops = npt.NDArray[np.uint8]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MapQuality:
    """One kind of map over many pictures; see `emostream.vision.explain.faithfulness`.

    Attributes:
        method: which kind.
        deletion_curve, insertion_curve: mean probability of the class against the share of pixels changed, 0…1.
        deletion, insertion: areas under them; low and high are good.
        better_than_chance: share of pictures whose map beats a map of chance in both.
    """

    method: str
    deletion_curve: tuple[float, ...]
    insertion_curve: tuple[float, ...]
    deletion: float
    insertion: float
    better_than_chance: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def measure_maps(
    classify: Classify, crops: Crops, classes: Classes, maps_by_method: dict[str, Maps], *, progress: bool
) -> tuple[MapQuality, ...]:
    """Deletion and insertion of every kind of map on the same pictures.

    Args:
        classify: the model.
        crops: uint8 n×S×S.
        classes: int64 n, the class each map is for.
        maps_by_method: name → maps; those of chance must be among them.
        progress: show a bar.
    """
    curves = {}
    for name, maps in maps_by_method.items():
        bar = tqdm(crops, desc=name, unit="picture", disable=not progress, leave=False)
        curves[name] = _curves(classify, bar, classes, maps)
    areas = {name: area_under(both) for name, both in curves.items()}
    result = []
    for name, (deletions, insertions) in curves.items():
        deletion, insertion = areas[name]
        is_better = (deletion < areas[CHANCE][0]) & (insertion > areas[CHANCE][1])
        result.append(
            MapQuality(
                method=name,
                deletion_curve=tuple(float(value) for value in deletions.mean(axis=0)),
                insertion_curve=tuple(float(value) for value in insertions.mean(axis=0)),
                deletion=float(deletion.mean()),
                insertion=float(insertion.mean()),
                better_than_chance=float(is_better.mean()),
            )
        )
    return tuple(result)


def _curves(classify: Classify, crops: Iterable[Crops], classes: Classes, maps: Maps) -> npt.NDArray[np.float64]:
    """2×n×steps: the probability along deletion and insertion of each picture."""
    rows = []
    for crop, saliency, column in zip(crops, maps, classes, strict=True):
        deleted, inserted = deletion_steps(crop, saliency), insertion_steps(crop, saliency)
        probabilities = classify(np.concatenate([deleted, inserted]))[:, column]
        rows.append(probabilities.reshape(2, len(deleted)))
    return np.stack(rows, axis=1).astype(np.float64)


@dataclass(frozen=True, slots=True)
class RandomisedPart:
    """How alike maps are after a part of the net, and all after it, got random weights.

    Attributes:
        part: the last one that was randomised: "heads", or the number of a stage from the crop on.
        rank_correlation: with the maps of the trained net, mean over pictures (Spearman).
    """

    part: str
    rank_correlation: float


def randomisation_test(
    net: FaceNet, fresh: FaceNet, make_maps: Callable[[FaceNet], Maps]
) -> tuple[RandomisedPart, ...]:
    """Maps of a net that was made random step by step, from its heads to its stem (Adebayo et al. 2018).

    A method whose maps stay alike draws the picture's edges, not what the net learned.

    Args:
        net: trained, in evaluation mode; it is random afterwards.
        fresh: the same net with fresh weights.
        make_maps: the method.
    """
    trained = make_maps(net)
    parts: list[tuple[str, nn.Module, nn.Module]] = [
        (
            "heads",
            net.head_modules(),
            fresh.head_modules(),
        )
    ]
    stages = list(zip(net.stages(), fresh.stages(), strict=True))
    parts += [(f"stage {number}", *stages[number]) for number in reversed(range(len(stages)))]
    result = []
    for name, part, random_part in parts:
        part.load_state_dict(random_part.state_dict())
        result.append(RandomisedPart(name, mean_rank_correlation(trained, make_maps(net))))
    return tuple(result)


def mean_rank_correlation(first: Maps, second: Maps) -> float:
    """Spearman's correlation of the maps of each picture, averaged; a flat map has none with anything."""
    a, b = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    lengths = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return float(np.divide((a * b).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0).mean())


def classifier_of(net: FaceNet, *, head: str) -> Classify:
    """The net as a function from uint8 crops to probabilities of one head."""

    @torch.no_grad()
    def classify(crops: Crops) -> npt.NDArray[np.float32]:
        outputs = []
        for start in range(0, len(crops), 64):
            ferplus, fer2013 = net(torch.from_numpy(crops[start : start + 64]))
            logits = ferplus[:, : fer2013.shape[1]] if head == "ferplus" else fer2013
            outputs.append(torch.softmax(logits, dim=1).numpy())
        return np.concatenate(outputs)

    return classify
