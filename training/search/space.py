"""What a search draws from, read from YAML, and settings with drawn values in them.

A search file has two sections:

    trial:                       # what is different in every trial, beside the settings that are searched from
      optim.epochs: 12
    space:                       # what is drawn for each trial
      optim.peak_learning_rate: {log_uniform: [0.02, 0.4]}
      optim.label_smoothing: {uniform: [0.0, 0.2]}
      model.widths: {choice: [[24, 48, 96, 192], [32, 64, 128, 256]]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emostream.errors import ConfigError
from training.config import TrainConfig, config_as_dict, config_from_dict

_KINDS = ("uniform", "log_uniform", "choice")


@dataclass(frozen=True, slots=True)
class Draw:
    """How one setting is drawn.

    Attributes:
        kind: `uniform` between two numbers, `log_uniform` the same for their logarithms, or `choice` of a list.
        values: the two numbers, or the list.
    """

    kind: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What a search file says: dotted setting → value, and dotted setting → how it is drawn."""

    trial: Mapping[str, Any]
    draws: Mapping[str, Draw]


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """The settings with some replaced, by dotted key.

    Raises:
        ConfigError: unknown key, wrong type, or an impossible value.
    """
    tree = config_as_dict(config)
    for key, value in settings.items():
        *sections, leaf = key.split(".")
        node = tree
        for section in sections:
            node = node.get(section, {})
            if not isinstance(node, dict):
                raise ConfigError(f"setting {key}: {section} is a value, not a section")
        if leaf not in node:
            raise ConfigError(f"unknown setting {key}; known there: {', '.join(node) or 'nothing'}")
        node[leaf] = value
    return config_from_dict(tree)


def load_space(path: Path, config: TrainConfig) -> SearchSpace:
    """Read a search file and try the ends of every range on the settings that it will be used with.

    Raises:
        ConfigError: the file is no such file, or draws what the settings do not take.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"search file {path} cannot be read: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"search file {path} is not YAML: {str(exc).splitlines()[0]}") from exc
    if not isinstance(content, dict) or not isinstance(content.get("space"), dict) or not content["space"]:
        raise ConfigError(f"search file {path} must hold a section `space` with at least one setting")
    unknown = sorted(set(content) - {"trial", "space"})
    if unknown:
        raise ConfigError(f"search file {path}: unknown section {unknown[0]}; known: trial, space")
    trial = content.get("trial") or {}
    space = SearchSpace(trial, {key: _draw(key, value) for key, value in content["space"].items()})
    base = with_settings(config, trial)
    for key, draw in space.draws.items():
        for value in draw.values:
            with_settings(base, {key: value})
    return space


def _draw(key: str, content: Any) -> Draw:
    if not isinstance(content, dict) or len(content) != 1 or next(iter(content)) not in _KINDS:
        raise ConfigError(f"space.{key}: expected one of {', '.join(_KINDS)} with its values, got {content!r}")
    kind, values = next(iter(content.items()))
    if not isinstance(values, list) or not values:
        raise ConfigError(f"space.{key}: expected a list behind {kind}, got {values!r}")
    if kind == "choice":
        return Draw(kind, tuple(values))
    # YAML reads 1e-3 as text.
    try:
        low, high = (float(value) for value in values)
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"space.{key}: expected [low, high] behind {kind}, got {values!r}") from exc
    if not low < high or (kind == "log_uniform" and low <= 0):
        raise ConfigError(
            f"space.{key}: expected a rising range{' above 0' if kind != 'uniform' else ''}, got {values!r}"
        )
    return Draw(kind, (low, high))
