"""The settings of one training run: frozen dataclasses, a YAML file of differences, and `key=value` overrides.

Precedence: override on the command line, then the YAML file, then the default written here. The effective settings are
saved in the run folder, so a run can always be repeated and a later stage never guesses.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from emostream.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What is learned from and what is measured on."""

    path: str = "../shared/data/fer2013"
    """Any of the forms that `training.data.load_faces` reads."""
    train_split: str | None = "training"
    validation_split: str | None = "publictest"
    validation_path: str | None = None
    """Where the validation pictures are when they are not in `path`."""


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How a training crop is varied: the first four stand for the jitter of a detector's box and landmarks."""

    flip_probability: float = 0.5
    rotation_degrees: float = 13.0
    scale_ratio: float = 0.15
    """Zoom is drawn from 1 − ratio … 1 + ratio."""
    shift_ratio: float = 0.06
    """Shift is drawn from ± ratio of the side."""
    brightness_levels: float = 25.0
    contrast_ratio: float = 0.3
    gamma_ratio: float = 0.35
    blur_probability: float = 0.15
    low_resolution_probability: float = 0.15
    min_low_resolution_pixels: int = 16
    noise_probability: float = 0.2
    noise_levels: float = 8.0
    """Largest standard deviation of the noise, of 255 levels."""
    erase_probability: float = 0.3
    max_erase_ratio: float = 0.4
    """Largest side of the erased rectangle, of the side of the crop."""
    mixup_probability: float = 0.25
    mixup_alpha: float = 0.2


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network; `training.model.build_model` knows the architectures."""

    architecture: Literal["compact"] = "compact"
    widths: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (1, 1, 2, 2)
    """Residual blocks in each stage; the first stage works at half the crop's resolution, each next at half again."""
    dropout: float = 0.3


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """How the weights move."""

    epochs: int = 50
    time_budget_minutes: float | None = None
    """When set, the schedule ends after this much training time even if fewer epochs fitted in."""
    batch_size: int = 128
    peak_learning_rate: float = 0.1
    warmup_fraction: float = 0.1
    final_learning_rate_ratio: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 5e-4
    max_gradient_norm: float = 5.0
    small_crop_fraction: float = 0.0
    """The first part of training that works on smaller crops: the same net at nearly half the cost of a step."""
    small_crop_pixels: int = 48
    """Side of these crops."""
    ema_decay: float = 0.999
    ferplus_weight: float = 1.0
    fer2013_weight: float = 1.0
    label_smoothing: float = 0.1
    """Of the challenge labels only: the votes are soft already."""


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """Learning from larger nets; see `training.distill`."""

    teachers: tuple[str, ...] = ()
    """Checkpoints, for example `runs/teacher/last.pt`; none means learning from labels alone."""
    weight: float = 0.7
    """Share of the loss that is against the teachers' answers; the rest is against the labels."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All settings of a run."""

    name: str = "run"
    seed: int = 0
    num_threads: int = 2
    device: Literal["cpu"] = "cpu"
    """Only the CPU so far."""
    precision: Literal["fp32", "bf16"] = "bf16"
    compile: bool = False
    """Let TorchInductor compile the training step; needs a C++ compiler."""
    initial_checkpoint: str | None = None
    """Start from the averaged weights of this checkpoint instead of random ones."""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)


def load_config(path: Path | None = None, *, overrides: tuple[str, ...] = ()) -> TrainConfig:
    """Defaults, then the YAML file, then overrides such as `optim.epochs=3`.

    Raises:
        ConfigError: unknown key, wrong type, or a file that is not a YAML mapping.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as exc:
            raise ConfigError(f"settings file {path} cannot be read: {exc.strerror}") from exc
        except (yaml.YAMLError, UnicodeDecodeError) as exc:
            raise ConfigError(f"settings file {path} is not YAML: {str(exc).splitlines()[0]}") from exc
        if content is not None and not isinstance(content, dict):
            raise ConfigError(f"settings file {path} must hold a mapping, got {type(content).__name__}")
        tree = content or {}
    for override in overrides:
        _apply_override(tree, override)
    return config_from_dict(tree)


def config_from_dict(tree: dict[str, Any]) -> TrainConfig:
    """A mapping of differences → the effective settings (checked)."""
    return _build(TrainConfig, tree, where="")


def config_as_dict(config: TrainConfig) -> dict[str, Any]:
    """The effective settings as plain values, ready for YAML."""
    return typing.cast("dict[str, Any]", _plain(dataclasses.asdict(config)))


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the effective settings as YAML."""
    path.write_text(yaml.safe_dump(config_as_dict(config), sort_keys=False), encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"expected an override of the form section.key=value, got {override!r}")
    *sections, leaf = key.split(".")
    node = tree
    for section in sections:
        node = node.setdefault(section, {})
        if not isinstance(node, dict):
            raise ConfigError(f"override {override!r}: {section} is a value, not a section")
    try:
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"override {override!r}: {text!r} is not a YAML value") from exc


def _build(cls: type[T], tree: dict[str, Any], *, where: str) -> T:
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(tree) - set(hints))
    if unknown:
        raise ConfigError(f"unknown setting {where}{unknown[0]}; known here: {', '.join(hints)}")
    values: dict[str, Any] = {}
    for key, value in tree.items():
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise ConfigError(f"setting {where}{key} is a section, got {value!r}")
            values[key] = _build(typing.cast("type[Any]", hint), value, where=f"{where}{key}.")
        else:
            values[key] = _convert(hint, value, where=f"{where}{key}")
    return cls(**values)


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and type(None) in options:
            return None
        return _convert(next(option for option in options if option is not type(None)), value, where=where)
    if origin is Literal:
        if value not in options:
            raise ConfigError(f"setting {where} must be one of {', '.join(map(str, options))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"setting {where} must be a list, got {value!r}")
        return tuple(_convert(options[0], item, where=where) for item in value)
    # YAML reads 1e-3 as text and 1 as an integer; both are fine where a float is asked for.
    if hint is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError) as exc:
            raise ConfigError(f"setting {where} must be a number, got {value!r}") from exc
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"setting {where} must be {hint.__name__}, got {value!r}")
    return value
