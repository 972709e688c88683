"""What light, camera and transmission do to training crops: float32 n×1×s×s in 0…255, each picture on its own.

Every function returns a new batch. Pictures that are not chosen stay as they are, and random numbers are drawn for all
of them, so that the stream of random numbers does not depend on the choice.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from training.augment.random import chosen, uniform
from training.config import AugmentConfig
from training.nets.torchvision_import import v2

BLUR_PIXELS = 1.0
"""Standard deviation of the blur, in pixels of the crop."""
MAX_JPEG_QUALITY = 90


def change_light(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Gamma, then contrast about the picture's mean, then brightness."""
    count = len(batch)
    spread = math.log1p(config.gamma_ratio)
    power = torch.exp(uniform(count, -spread, spread, generator))[:, None, None, None]
    contrast = uniform(count, 1 - config.contrast_ratio, 1 + config.contrast_ratio, generator)[:, None, None, None]
    levels = config.brightness_levels
    brightness = uniform(count, -levels, levels, generator)[:, None, None, None]
    batch = (batch.clamp(0.0, 255.0) / 255.0).pow(power) * 255.0
    mean = batch.mean(dim=(2, 3), keepdim=True)
    return (batch - mean) * contrast + mean + brightness


def light_from_one_side(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Multiply some pictures by a plane that rises in a random direction and is 1 in the middle."""
    count, side = len(batch), batch.shape[-1]
    index = torch.nonzero(chosen(count, config.uneven_light_probability, generator)).flatten()
    angle = uniform(count, 0.0, 2 * math.pi, generator)
    rise = uniform(count, 0.0, config.uneven_light_ratio, generator)
    if len(index) == 0:
        return batch
    place = torch.linspace(-1.0, 1.0, side)
    across = (rise * torch.cos(angle))[index, None, None] * place
    down = (rise * torch.sin(angle))[index, None, None] * place[:, None]
    return batch.index_copy(0, index, batch[index] * (1 + across + down).clamp(min=0.0)[:, None])


def blur(batch: Tensor, probability: float, generator: Generator) -> Tensor:
    """Blend with a Gaussian blur by a random share, in some pictures."""
    count = len(batch)
    share = uniform(count, 0.3, 1.0, generator) * chosen(count, probability, generator)
    index = torch.nonzero(share > 0).flatten()
    if len(index) == 0:
        return batch
    sharp = batch[index]
    blurred = v2.functional.gaussian_blur(sharp, [5, 5], [BLUR_PIXELS, BLUR_PIXELS])
    return batch.index_copy(0, index, torch.lerp(sharp, blurred, share[index][:, None, None, None]))


def lower_resolution(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Shrink some pictures and enlarge them again, as a small far face is: one size a call."""
    index = torch.nonzero(chosen(len(batch), config.low_resolution_probability, generator)).flatten()
    side = batch.shape[-1]
    smallest = min(config.min_low_resolution_pixels, side)
    pixels = int(torch.randint(smallest, side + 1, (1,), generator=generator))
    if len(index) == 0:
        return batch
    small = v2.functional.resize(batch[index], [pixels, pixels], antialias=True)
    return batch.index_copy(0, index, v2.functional.resize(small, [side, side], antialias=False))


def add_noise(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Gaussian noise of a random strength, in some pictures."""
    count = len(batch)
    noisy = chosen(count, config.noise_probability, generator)
    strength = uniform(count, 0.0, config.noise_levels, generator) * noisy
    index = torch.nonzero(noisy).flatten()
    if len(index) == 0:
        return batch
    noise = torch.randn((len(index), *batch.shape[1:]), generator=generator) * strength[index][:, None, None, None]
    return batch.index_copy(0, index, batch[index] + noise)


def compress(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Write some pictures as JPEG of a random quality and read them again."""
    count = len(batch)
    index = torch.nonzero(chosen(count, config.jpeg_probability, generator)).flatten()
    quality = uniform(count, config.min_jpeg_quality, MAX_JPEG_QUALITY, generator).round().int()
    if len(index) == 0:
        return batch
    levels = batch[index, 0].clamp(0.0, 255.0).round().to(torch.uint8).cpu().numpy()
    read = [_through_jpeg(picture, int(quality[k])) for picture, k in zip(levels, index, strict=True)]
    return batch.index_copy(0, index, torch.from_numpy(np.stack(read))[:, None].to(batch))


def _through_jpeg(picture: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def occlude(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """A rectangle of a random level over a part of some pictures: hands, hair, microphones."""
    count, side = len(batch), batch.shape[-1]
    covered = chosen(count, config.erase_probability, generator)
    largest = max(config.max_erase_ratio, 0.1)
    height = uniform(count, 0.1, largest, generator) * side
    width = uniform(count, 0.1, largest, generator) * side
    top = torch.rand(count, generator=generator) * (side - height)
    left = torch.rand(count, generator=generator) * (side - width)
    level = uniform(count, 0.0, 255.0, generator)[:, None, None, None]
    mask = rectangle(top, left, height, width, side=side) & covered[:, None, None]
    return torch.where(mask[:, None], level, batch)


def rectangle(top: Tensor, left: Tensor, height: Tensor, width: Tensor, *, side: int) -> Tensor:
    """bool n×side×side, true inside; places and lengths n in pixels."""
    place = torch.arange(side)
    rows = (place >= top[:, None]) & (place < (top + height)[:, None])
    columns = (place >= left[:, None]) & (place < (left + width)[:, None])
    return rows[:, :, None] & columns[:, None, :]
