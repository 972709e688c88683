"""Augmentation of training crops, a whole batch at a time.

It stands for what the service meets: a box and landmarks that are a little off and heads that are turned (`warp`), then
light, things before the face, lens, distance, sensor and compression (`photometry`), in the order in which they happen.
Everything is after `emostream.vision.classify.preprocess`, which evaluation and serving use alone, and before the
model's own standardisation.

Each picture has its own parameters. torchvision's transforms (v2) draw one set for a batch, most of them from torch's
global generator; for one picture at a time they cost more than all of this (affine alone 7.7 ms for 128 crops). So
their kernels are used where one parameter for all chosen pictures is as good, blur and resizing. JPEG goes through
OpenCV: torchvision's kernel needs its compiled part, which a CPU build of torch cannot load, and by way of Pillow it
costs four times as much.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.augment.mixing import mix, mixup_shares
from training.augment.photometry import (
    add_noise,
    blur,
    change_light,
    compress,
    light_from_one_side,
    lower_resolution,
    occlude,
)
from training.augment.random import chosen, uniform
from training.config import AugmentConfig

__all__ = ["augment", "mix", "mixup_shares", "warp"]


def augment(crops: Tensor, config: AugmentConfig, generator: Generator, *, side: int | None = None) -> Tensor:
    """uint8 n×s×s → float32 n×1×side×side in 0…255, each picture varied on its own; the input is not changed.

    `side` is that of the crops when not given. The same generator state gives the same batch.
    """
    batch = crops[:, None].to(torch.float32)
    batch = warp(batch, config, generator, side=side)
    batch = light_from_one_side(batch, config, generator)
    batch = occlude(batch, config, generator)
    batch = change_light(batch, config, generator)
    batch = blur(batch, config.blur_probability, generator)
    batch = lower_resolution(batch, config, generator)
    batch = add_noise(batch, config, generator)
    batch = compress(batch, config, generator)
    return batch.clamp(0.0, 255.0)


def warp(batch: Tensor, config: AugmentConfig, generator: Generator, *, side: int | None = None) -> Tensor:
    """Flip, turn, zoom (a little differently along both sides), shear, tilt, shift, and resample once to `side`.

    Past the border the edge is repeated.
    """
    side = side or batch.shape[-1]
    # Centres of the pixels of the result, in −1…1 over its sides; homogeneous.
    place = (torch.arange(side) + 0.5) * (2 / side) - 1
    points = torch.stack([place.repeat(side), place.repeat_interleave(side), torch.ones(side * side)])
    x, y, depth = (draw_matrices(len(batch), config, generator) @ points).unbind(dim=1)
    grid = torch.stack([x / depth, y / depth], dim=2).view(len(batch), side, side, 2)
    return functional.grid_sample(batch, grid, mode="bilinear", padding_mode="border", align_corners=False)


def draw_matrices(count: int, config: AugmentConfig, generator: Generator) -> Tensor:
    """float32 n×3×3: a place in the result → where to look in the picture, both homogeneous in −1…1."""
    angle = uniform(count, -config.rotation_degrees, config.rotation_degrees, generator) * (math.pi / 180)
    scale = uniform(count, 1 - config.scale_ratio, 1 + config.scale_ratio, generator)
    stretch = uniform(count, 1 - config.scale_ratio / 3, 1 + config.scale_ratio / 3, generator)
    flip = 1.0 - 2.0 * chosen(count, config.flip_probability, generator).to(torch.float32)
    shear = uniform(count, -config.shear_ratio, config.shear_ratio, generator)
    tilt = uniform(2 * count, -config.perspective_ratio / 2, config.perspective_ratio / 2, generator).view(2, count)
    # −1…1 is two sides' halves, so a shift by a share of the side is twice that.
    shift = uniform(2 * count, -2 * config.shift_ratio, 2 * config.shift_ratio, generator).view(2, count)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    along_x = torch.stack([cosine * flip * stretch, sine * flip * stretch, tilt[0]], dim=1)
    along_y = torch.stack([-sine, cosine, tilt[1]], dim=1)
    origin = torch.stack([shift[0], shift[1], torch.ones(count)], dim=1)
    return torch.stack([along_x, along_y + shear[:, None] * along_x, origin], dim=2)
