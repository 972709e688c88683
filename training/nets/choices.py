"""The settings of a family checked against what it offers."""

from __future__ import annotations

from collections.abc import Sequence

from emostream.errors import ConfigError
from training.config import ModelConfig

SMALL = "small"
"""The variant of our own making: no one has published weights for it."""


def chosen_variant(config: ModelConfig, known: Sequence[str]) -> str:
    """The variant of the settings, the first known one when they name none.

    Raises:
        ConfigError: this family has no such variant.
    """
    variant = known[0] if config.variant is None else config.variant
    if variant not in known:
        raise ConfigError(
            f"model.variant of {config.architecture} must be one of {', '.join(known)}, got {config.variant!r}"
        )
    return variant


def chosen_stem_stride(config: ModelConfig, known: Sequence[int]) -> int:
    """How much the first stage shrinks the crop, the first known one when the settings leave it open.

    Raises:
        ConfigError: this family cannot shrink so.
    """
    stride = known[0] if config.stem_stride is None else config.stem_stride
    if stride not in known:
        options = " or ".join(map(str, sorted(known)))
        raise ConfigError(f"model.stem_stride of {config.architecture} must be {options}, got {config.stem_stride}")
    return stride
