"""The compact net: shapes, inputs it takes, light that does not matter."""

from __future__ import annotations

import pytest
import torch

from emostream.errors import ConfigError
from training.config import ModelConfig
from training.nets.build import Standardise, build_model

SMALL = ModelConfig(widths=(4, 8), depths=(1, 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_gives_logits_of_both_heads(dtype: torch.dtype) -> None:
    crops = torch.randint(0, 256, (3, 64, 64)).to(dtype)
    model = build_model(SMALL).eval()
    for logits in model(crops):
        assert logits.shape == (3, 7)
    for flat, with_channel in zip(model(crops), model(crops[:, None]), strict=True):
        torch.testing.assert_close(flat, with_channel)


def test_light_and_contrast_hardly_matter() -> None:
    crops = torch.rand(2, 64, 64) * 100 + 50
    torch.testing.assert_close(Standardise()(crops), Standardise()(crops * 1.5 - 20), atol=0.03, rtol=0.03)


def test_a_flat_crop_stays_finite() -> None:
    result = Standardise()(torch.full((1, 64, 64), 200, dtype=torch.uint8))
    assert float(result.abs().max()) == 0


@pytest.mark.parametrize("model", [ModelConfig(widths=(8,), depths=(1, 1)), ModelConfig(widths=(), depths=())])
def test_widths_and_depths_must_fit(model: ModelConfig) -> None:
    with pytest.raises(ConfigError):
        build_model(model)


def test_empty_stages_are_refused() -> None:
    with pytest.raises(ConfigError):
        build_model(ModelConfig(widths=(8, 8), depths=(1, 0)))
