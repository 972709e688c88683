"""What a trained net looks at: `python -m training.explain --run runs/first [--out FOLDER]`.

Grad-CAM and LayerCAM maps of the net's answers on its validation pictures: overlays for each class, whether the maps
mean something (deletion and insertion beside chance and a centre prior; the randomisation test), all in one folder
that `python -m training.evaluate --report … --explanation FOLDER` reads. A user's own picture is explained by
`emostream explain`, which needs no torch.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from emostream.domain.model_manifest import sha256_of
from emostream.errors import EmostreamError
from emostream.render.heat_map import draw_heat_map
from emostream.render.png import write_png
from emostream.vision.classify.preprocess import batch_from_pictures
from emostream.vision.explain.faithfulness import random_maps
from emostream.vision.explain.rise import Classify, random_masks, saliency_maps
from training.data.face_set import FaceSet
from training.data.load import load_faces, load_splits
from training.explain.cam import Head, Maps, grad_cam, layer_cam
from training.explain.folder import ClassExamples, NetExplanation, save_explanation
from training.explain.map_quality import (
    CHANCE,
    Classes,
    Crops,
    RandomisedPart,
    classifier_of,
    measure_maps,
    randomisation_test,
)
from training.loop.checkpoint import Checkpoint, load_checkpoint, load_weights
from training.measure.evaluation import votes_and_majority
from training.measure.robustness import spread_subset
from training.nets.build import FaceNet, build_model

METHODS = {"Grad-CAM": grad_cam, "LayerCAM": layer_cam}
NUM_PICTURES = 1000
_NUM_QUALITY_PICTURES = 200
_NUM_EXAMPLES = 6
_NUM_RANDOMISATION_PICTURES = 64
_TILE = 112


def explain_net(
    checkpoint: Checkpoint,
    faces: FaceSet,
    *,
    source: Path,
    head: Head | None = None,
    with_rise: bool = False,
    progress: bool = False,
) -> NetExplanation:
    """Maps of a checkpoint's averaged weights on some pictures, and whether they mean something.

    Args:
        checkpoint: of the net.
        faces: the pictures; their votes or labels say which answers are right.
        source: file of the checkpoint.
        head: whose answers are explained; None is the head that events carry, and a net with one head has no other.
        with_rise: make maps by RISE as well, some hundred times as slow.
        progress: show bars.

    Raises:
        ManifestError: the weights are of another net.
        SourceRejectedError: a picture is of a class that the net does not know.
    """
    task = checkpoint.task
    head = (head or "ferplus") if task.has_votes else "probabilities"
    faces = faces.with_classes(task.class_names)
    net = _load_net(checkpoint, source=source)
    crops = batch_from_pictures(faces.pictures, size=checkpoint.config.data.crop_pixels)
    classify = classifier_of(net, head=head)
    probabilities = classify(crops)
    answers = probabilities.argmax(axis=1).astype(np.int64)
    maps = {name: method(net, crops, answers, head=head) for name, method in METHODS.items()}
    some = _spread(len(crops), _NUM_QUALITY_PICTURES)
    candidates = {name: of_method[some] for name, of_method in maps.items()}
    if with_rise:
        candidates["RISE"] = _rise_maps(classify, crops[some], answers[some])
    candidates["centre"] = _centre_maps(len(some), side=crops.shape[1])
    candidates[CHANCE] = random_maps(crops.shape[1], num_maps=len(some), seed=2)
    return NetExplanation(
        source=f"{checkpoint.config.name}, epoch {checkpoint.epoch}",
        checkpoint_sha256=sha256_of(source),
        head=head,
        num_pictures=len(some),
        quality=measure_maps(classify, crops[some], answers[some], candidates, progress=progress),
        randomisation=_randomisation(checkpoint, crops, answers, head=head, source=source),
        classes=_class_examples(crops, _labels_for(head, faces), probabilities, maps, class_names=task.class_names),
    )


def _spread(num: int, num_wanted: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, num - 1, min(num_wanted, num)).astype(np.int64)


def _rise_maps(classify: Classify, crops: Crops, answers: Classes) -> Maps:
    masks = random_masks(crops.shape[1])
    return np.stack([saliency_maps(classify, crop, masks)[answer] for crop, answer in zip(crops, answers, strict=True)])


def _labels_for(head: Head, faces: FaceSet) -> npt.NDArray[np.int64]:
    """What an answer of this head is right against: NO_MAJORITY is right for none."""
    return votes_and_majority(faces)[1] if head == "ferplus" and faces.has_votes else faces.labels


def _load_net(checkpoint: Checkpoint, *, source: Path) -> FaceNet:
    net = build_model(checkpoint.config.model, checkpoint.task)
    load_weights(net, checkpoint.ema_weights, source=source)
    return net.eval()


def _centre_maps(num: int, *, side: int) -> Maps:
    """The same map for every picture: the nearer to the centre, the stronger."""
    place = np.arange(side) - (side - 1) / 2
    distance = np.hypot(place[:, None], place[None, :])
    return np.broadcast_to((distance.max() - distance).astype(np.float32), (num, side, side))


def _randomisation(
    checkpoint: Checkpoint, crops: Crops, answers: Classes, *, head: Head, source: Path
) -> dict[str, tuple[RandomisedPart, ...]]:
    some = _spread(len(crops), _NUM_RANDOMISATION_PICTURES)
    result = {}
    for name, method in METHODS.items():
        torch.manual_seed(0)  # the fresh weights
        fresh = build_model(checkpoint.config.model, checkpoint.task).eval()
        make_maps = functools.partial(method, crops=crops[some], classes=answers[some], head=head)
        result[name] = randomisation_test(_load_net(checkpoint, source=source), fresh, make_maps)
    return result


def _class_examples(
    crops: Crops,
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    maps: dict[str, Maps],
    *,
    class_names: tuple[str, ...],
) -> tuple[ClassExamples, ...]:
    """For each class that was ever answered rightly: the surest right answers, and the mean of all."""
    answers = probabilities.argmax(axis=1)
    result = []
    for column, emotion in enumerate(class_names):
        right = np.flatnonzero((answers == column) & (labels == column))
        if right.size == 0:
            continue
        surest = right[np.argsort(-probabilities[right, column], kind="stable")][:_NUM_EXAMPLES]
        result.append(
            ClassExamples(
                emotion=emotion,
                num_right=int(right.size),
                mean_crop=np.rint(crops[right].mean(axis=0)).astype(np.uint8),
                mean_maps={name: _scaled(of_method[right]).mean(axis=0) for name, of_method in maps.items()},
                crops=crops[surest],
                probabilities=probabilities[surest, column],
                maps={name: of_method[surest] for name, of_method in maps.items()},
            )
        )
    return tuple(result)


def _scaled(maps: Maps) -> Maps:
    """Each map with 1 as its largest value, so that all count alike in a mean."""
    return np.asarray(maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny))


def draw_overlays(explanation: NetExplanation, *, method: str) -> npt.NDArray[np.uint8]:
    """One row for each class: the mean face with its mean map, then the surest faces with theirs; uint8, H×W×3, RGB."""
    rows = []
    for examples in explanation.classes:
        tiles = [draw_heat_map(examples.mean_crop, examples.mean_maps[method], size=_TILE)]
        pairs = zip(examples.crops, examples.maps[method], strict=True)
        tiles += [draw_heat_map(crop, saliency, size=_TILE) for crop, saliency in pairs]
        tiles += [np.full((_TILE, _TILE, 3), 255, dtype=np.uint8)] * (_NUM_EXAMPLES + 1 - len(tiles))
        rows.append(np.concatenate(tiles, axis=1))
    if not rows:  # it was never right
        return np.full((_TILE, _TILE, 3), 255, dtype=np.uint8)
    return np.concatenate(rows)


def print_quality(explanation: NetExplanation) -> None:
    """The figures as text."""
    console = Console(highlight=False)
    table = Table("map", title=f"{explanation.source}, head {explanation.head}, {explanation.num_pictures} pictures")
    for heading in ("deletion ↓", "insertion ↑", "better than chance"):
        table.add_column(heading, justify="right")
    for entry in explanation.quality:
        better = "–" if entry.method == CHANCE else f"{entry.better_than_chance:.0%}"
        table.add_row(entry.method, f"{entry.deletion:.3f}", f"{entry.insertion:.3f}", better)
    console.print(table)
    table = Table(
        "random from the end to", *explanation.randomisation, title="rank correlation with the trained net's maps"
    )
    for parts in zip(*explanation.randomisation.values(), strict=True):
        table.add_row(parts[0].part, *(f"{part.rank_correlation:.2f}" for part in parts))
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.explain", description="Heat maps of a trained net.")
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--checkpoint", choices=["last", "best"], default="last", help="default: last")
    parser.add_argument("--data", type=Path, help="labelled pictures; default: what the run was validated on")
    parser.add_argument("--split", help="split of the data; default: what the run was validated on")
    parser.add_argument(
        "--pictures", type=int, default=NUM_PICTURES, metavar="N", help="pictures to explain, spread over the set"
    )
    parser.add_argument("--head", choices=["ferplus", "fer2013"], help="head to explain; default: the one in events")
    parser.add_argument("--rise", action="store_true", help="maps by RISE as well, as in `emostream explain` (slow)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: RUN/explanation")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args(arguments)
    out = options.out or options.run / "explanation"
    try:
        explanation = _run(options, out)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    if options.json:
        print(json.dumps(explanation.as_dict(), indent=2))
    else:
        print_quality(explanation)
        print(f"figures and overlays are in {out}", file=sys.stderr)
    return 0


def _run(options: argparse.Namespace, out: Path) -> NetExplanation:
    path = options.run / f"{options.checkpoint}.pt"
    checkpoint = load_checkpoint(path)
    data = checkpoint.config.data
    if options.data is None and options.split is None:
        faces = load_splits(data)[1]
    else:
        path_of_data = options.data or Path(data.validation_path or data.path)
        faces = load_faces(path_of_data, split=options.split, class_names=checkpoint.task.class_names)
    faces = spread_subset(faces.without_blank(), options.pictures)
    explanation = explain_net(
        checkpoint, faces, source=path, head=options.head, with_rise=options.rise, progress=sys.stderr.isatty()
    )
    save_explanation(explanation, out)
    for method in explanation.randomisation:
        write_png(draw_overlays(explanation, method=method), out / f"{method.lower()}.png")
    return explanation


if __name__ == "__main__":
    sys.exit(main())
