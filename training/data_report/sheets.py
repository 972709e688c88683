"""Contact sheets: many small pictures as one, uint8 H×W, on white."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from emostream.vision.classify.preprocess import batch_from_pictures, crop_from_picture
from training.augment.photometry import (
    add_noise,
    blur,
    change_light,
    compress,
    light_from_one_side,
    lower_resolution,
    occlude,
)
from training.augment.warp import augment, mix, warp
from training.config import AugmentConfig
from training.data.face_set import FaceSet

SIDE_PIXELS = 64
_GAP_PIXELS = 3
_WHITE = 255

Picture = npt.NDArray[np.uint8]


def contact_sheet(pictures: Sequence[Picture] | Picture, *, columns: int, group: int = 1) -> Picture:
    """Gray pictures of any size, row by row; `group` pictures each stand close together."""
    if len(pictures) == 0:
        return np.full((SIDE_PIXELS, SIDE_PIXELS), _WHITE, dtype=np.uint8)
    rows = -(-len(pictures) // columns)
    width = columns * (SIDE_PIXELS + _GAP_PIXELS) + columns // group * 2 * _GAP_PIXELS * (group > 1)
    sheet = np.full((rows * (SIDE_PIXELS + _GAP_PIXELS), width), _WHITE, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        y = row * (SIDE_PIXELS + _GAP_PIXELS)
        x = column * (SIDE_PIXELS + _GAP_PIXELS) + column // group * 2 * _GAP_PIXELS * (group > 1)
        sheet[y : y + SIDE_PIXELS, x : x + SIDE_PIXELS] = crop_from_picture(picture, size=SIDE_PIXELS)
    return sheet


def class_sheet(faces: FaceSet, emotion: int, *, num: int, columns: int, seed: int) -> Picture:
    """Pictures of one class, drawn by a seed, blank ones left out."""
    places = np.flatnonzero((faces.labels == emotion) & ~faces.blank)
    chosen = np.random.default_rng(seed).permutation(places)[:num]
    return contact_sheet(faces.pictures[np.sort(chosen)], columns=columns)


def pair_sheet(faces: FaceSet, pairs: npt.NDArray[np.int64], *, num: int, columns: int, seed: int) -> Picture:
    """Pairs m×2 of places, drawn by a seed, side by side; `columns` counts pairs."""
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:num]
    return contact_sheet(faces.pictures[pairs[np.sort(chosen)].reshape(-1)], columns=2 * columns, group=2)


def augmentation_sheet(pictures: Picture, config: AugmentConfig, *, columns: int, seed: int) -> Picture:
    """A row for each picture: itself, then as training sees it, time and again."""
    crops = torch.from_numpy(batch_from_pictures(pictures)).repeat_interleave(columns - 1, dim=0)
    varied = augment(crops, config, torch.Generator().manual_seed(seed))[:, 0].round().to(torch.uint8).numpy()
    rows = varied.reshape(len(pictures), columns - 1, *varied.shape[1:])
    tiles = [tile for picture, row in zip(pictures, rows, strict=True) for tile in (picture, *row)]
    return contact_sheet(tiles, columns=columns)


def augmentation_steps(picture: Picture, config: AugmentConfig, *, columns: int, seed: int) -> dict[str, Picture]:
    """Each kind of augmentation alone, always applied: name → a row of one picture, time and again."""
    crop = torch.from_numpy(crop_from_picture(picture)).to(torch.float32)
    batch = crop.expand(columns, 1, *crop.shape).contiguous()
    generator = torch.Generator().manual_seed(seed)
    always = _always(config)
    steps = {
        "box, landmarks, turned head": warp(batch, config, generator),
        "light": change_light(batch, config, generator),
        "light from one side": light_from_one_side(batch, always, generator),
        "occlusion": occlude(batch, always, generator),
        "blur": blur(batch, 1.0, generator),
        # One size a call, so a call for each.
        "low resolution": torch.cat([lower_resolution(tile[None], always, generator) for tile in batch]),
        "noise": add_noise(batch, always, generator),
        "JPEG": compress(batch, always, generator),
    }
    return {name: _row(result) for name, result in steps.items()}


def mixing_sheet(pictures: Picture, config: AugmentConfig, *, seed: int) -> dict[str, Picture]:
    """Name → a row of these pictures mixed with each other."""
    batch = torch.from_numpy(batch_from_pictures(pictures))[:, None].to(torch.float32)
    generator = torch.Generator().manual_seed(seed)
    only_mixup = _with(config, mixup_probability=1.0, cutmix_probability=0.0)
    only_cutmix = _with(config, mixup_probability=0.0, cutmix_probability=1.0)
    return {
        "mixup": _row(mix(batch, only_mixup, generator)[0]),
        "cutmix": _row(mix(batch, only_cutmix, generator)[0]),
    }


def png_bytes(picture: Picture, *, scale: int = 1) -> bytes:
    """A picture as a PNG file, each pixel enlarged `scale` times."""
    enlarged = np.repeat(np.repeat(picture, scale, axis=0), scale, axis=1)
    _, content = cv2.imencode(".png", enlarged, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return content.tobytes()


def _row(batch: torch.Tensor) -> Picture:
    levels = batch[:, 0].clamp(0, 255).round().to(torch.uint8).numpy()
    return contact_sheet(levels, columns=len(levels))


def _always(config: AugmentConfig) -> AugmentConfig:
    return _with(
        config,
        uneven_light_probability=1.0,
        low_resolution_probability=1.0,
        noise_probability=1.0,
        jpeg_probability=1.0,
        erase_probability=1.0,
    )


def _with(config: AugmentConfig, **changes: float) -> AugmentConfig:
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]
