"""Trains the small net behind the quality flag `occluded`: are the eyes, is the mouth of this crop covered?

    python -m training.covers --data ../shared/data/fer2013 --out emostream/models/covers.onnx

Learns from FER2013 Training pictures before which things are drawn (`training.evidence.covers`), but for a tenth, on
which it is measured. Half an hour of one core. Some of the pictures show covered faces as they are; those that the net
is sure of after half of its epochs are left out of the other half.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.vision.classify.covers import COVERS_SIDE
from training.data.load import held_out_parts, open_data_set
from training.evidence.covers import drawn

_COPIES_HELD_OUT = 4
_BATCH = 256
_SURELY_COVERED = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class CoverSet:
    """Crops with things drawn before them.

    Attributes:
        pixels: uint8, n×1×S×S.
        targets: float32, n×2, of eyes and mouth: 1 covered, 0 open, NaN neither.
        sources: int64, n, which picture each was made from.
    """

    pixels: torch.Tensor
    targets: torch.Tensor
    sources: npt.NDArray[np.int64]


class CoversNet(nn.Module):
    """Three convolutions and two layers, 0.3 M multiply-adds; gives probabilities that eyes and mouth are covered."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 12, 24, 32)
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
        side = COVERS_SIDE // 8
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(widths[-1] * side * side, 32), nn.ReLU(), nn.Linear(32, 2)]
        self.layers = nn.Sequential(*layers)

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Crops uint8 n×1×S×S → logits n×2."""
        levels = pixels.float()
        mean = levels.mean(dim=(2, 3), keepdim=True)
        deviation = ((levels - mean) ** 2).mean(dim=(2, 3), keepdim=True).sqrt()
        logits: torch.Tensor = self.layers((levels - mean) / (deviation + 1))
        return logits

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Crops uint8 n×1×S×S → probabilities n×2."""
        return self.logits(pixels).sigmoid()


def cover_set(pictures: npt.NDArray[np.uint8], *, copies: int, seed: int) -> CoverSet:
    """Draw before each picture, in several ways."""
    draws = np.random.default_rng(seed)
    pixels = np.empty((copies * len(pictures), 1, COVERS_SIDE, COVERS_SIDE), np.uint8)
    targets = np.empty((len(pixels), 2), np.float32)
    sources = np.tile(np.arange(len(pictures)), copies)
    for index, source in enumerate(tqdm(sources, desc="draw", leave=False)):
        made = drawn(pictures[source], pictures, draws)
        cv2.resize(made.pixels, (COVERS_SIDE, COVERS_SIDE), dst=pixels[index, 0], interpolation=cv2.INTER_AREA)
        targets[index] = made.eyes, made.mouth
    return CoverSet(torch.from_numpy(pixels), torch.from_numpy(targets), sources)


def plain_crops(pictures: npt.NDArray[np.uint8]) -> torch.Tensor:
    """The pictures as the net sees them: uint8 n×1×S×S."""
    small = [cv2.resize(each, (COVERS_SIDE, COVERS_SIDE), interpolation=cv2.INTER_AREA) for each in pictures]
    return torch.from_numpy(np.asarray(small, np.uint8)[:, None])


def fit(net: CoversNet, training: CoverSet, *, epochs: int, rate: float, generator: torch.Generator) -> None:
    """Fit by Adam with a cosine schedule; targets that are neither have no weight."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
    steps = epochs * (len(training.pixels) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    net.train()
    for _ in tqdm(range(epochs), desc="epoch", leave=False):
        order = torch.randperm(len(training.pixels), generator=generator)
        for start in range(0, len(order) - _BATCH + 1, _BATCH):
            batch = order[start : start + _BATCH]
            pixels, targets = training.pixels[batch], training.targets[batch]
            if torch.rand((), generator=generator) < 0.5:
                pixels = pixels.flip(3)
            known = ~targets.isnan()
            losses = nn.functional.binary_cross_entropy_with_logits(
                net.logits(pixels), targets.nan_to_num(), reduction="none"
            )
            optimizer.zero_grad()
            (losses * known).sum().div(known.sum()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    net.eval()


@torch.no_grad()
def answers(net: CoversNet, pixels: torch.Tensor) -> npt.NDArray[np.float32]:
    """Probabilities n×2."""
    parts = [net(pixels[start : start + 1024]).numpy() for start in range(0, len(pixels), 1024)]
    return np.concatenate(parts)


def figures(net: CoversNet, made: CoverSet, plain: torch.Tensor) -> dict[str, float]:
    """Shares found at some limits: of covered ones, of open ones, and of untouched pictures."""
    found, untouched = answers(net, made.pixels), answers(net, plain)
    targets = made.targets.numpy()
    result: dict[str, float] = {}
    for place, name in enumerate(("eyes", "mouth")):
        for limit in (0.5, 0.7, 0.8, 0.9):
            is_found = found[:, place] > limit
            result[f"{name}_covered_above_{limit}"] = round(float(is_found[targets[:, place] == 1].mean()), 4)
            result[f"{name}_open_above_{limit}"] = round(float(is_found[targets[:, place] == 0].mean()), 4)
            result[f"{name}_untouched_above_{limit}"] = round(float((untouched[:, place] > limit).mean()), 4)
    return result


def write_onnx(net: CoversNet, path: Path) -> None:
    """Write the net (ONNX, input `crops` uint8 n×1×S×S, output `covered` float32 n×2)."""
    example = torch.zeros((2, 1, COVERS_SIDE, COVERS_SIDE), dtype=torch.uint8)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings():
        # The newer exporter needs a further package (onnxscript); this one is deprecated but complete for such a net.
        warnings.simplefilter("ignore")
        draft = Path(folder) / path.name
        torch.onnx.export(
            net,
            (example,),
            str(draft),
            input_names=["crops"],
            output_names=["covered"],
            dynamic_axes={"crops": {0: "n"}, "covered": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )
        draft.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=3, help="drawings before each picture")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    learned, held_out = (part.without_blank() for part in held_out_parts(open_data_set(options.data)))
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    training = cover_set(learned.pictures, copies=options.copies, seed=options.seed)
    measured = cover_set(held_out.pictures, copies=_COPIES_HELD_OUT, seed=options.seed + 1)
    net = CoversNet()
    fit(net, training, epochs=options.epochs // 2, rate=4e-3, generator=generator)
    is_open = answers(net, plain_crops(learned.pictures)).max(axis=1) < _SURELY_COVERED
    kept = torch.from_numpy(np.flatnonzero(is_open[training.sources]))
    cleaned = CoverSet(training.pixels[kept], training.targets[kept], training.sources[kept.numpy()])
    fit(net, cleaned, epochs=options.epochs - options.epochs // 2, rate=3e-3, generator=generator)
    write_onnx(net, options.out)
    found = figures(net, measured, plain_crops(held_out.pictures))
    print(json.dumps({"pictures": len(learned), "left_out": int((~is_open).sum()), **found}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
