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
from emostream.files import whole_file

T = TypeVar("T")


def plain_values(value: Any) -> Any:
    """Tuples become lists, at every depth: what YAML can hold."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain_values(item) for item in value]
    return value


def differences(one: dict[str, Any], other: dict[str, Any], *, where: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted key, value in `one`, value in `other`) of every setting that is not the same in both, in order.

    >>> differences({"seed": 0, "optim": {"epochs": 3}}, {"seed": 0, "optim": {"epochs": 5}})
    [('optim.epochs', 3, 5)]
    """
    found: list[tuple[str, Any, Any]] = []
    for key in [*one, *(key for key in other if key not in one)]:
        first, second = one.get(key), other.get(key)
        if isinstance(first, dict) and isinstance(second, dict):
            found += differences(first, second, where=f"{where}{key}.")
        elif first != second:
            found.append((f"{where}{key}", first, second))
    return found


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Put `section.key=value` into the tree; the value is read as YAML.

    Raises:
        ConfigError: it is not of that form, or a section on the way is a value.
    """
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


def build_settings(cls: type[T], tree: dict[str, Any], *, where: str = "") -> T:
    """A dataclass from a mapping of what differs from its defaults; `where` is the dotted key so far, for messages.

    Raises:
        ConfigError: unknown key, or a value of the wrong type.
    """
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
            values[key] = build_settings(typing.cast("type[Any]", hint), value, where=f"{where}{key}.")
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


def _check(section: str, *rules: tuple[str, Any, bool, str]) -> None:
    """Each rule is (key, value, whether it holds, what is allowed)."""
    for key, value, holds, allowed in rules:
        if not holds:
            raise ConfigError(f"setting {section}.{key} must be {allowed}, got {value}")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What is learned from and what is measured on."""

    path: str = "../shared/data/fer2013"
    """Any of the forms that `training.data.load.load_faces` reads."""
    train_split: str | None = "training"
    validation_split: str | None = None
    """What chooses: the best epoch, when to stop, the scaling of the logits. None keeps `validation_share` of the
    training pictures apart, so that a split that figures are told of, such as `publictest`, chooses nothing."""
    validation_path: str | None = None
    """Where the validation pictures are when they are not in `path`."""
    validation_share: float = 0.1
    """Kept apart from the training pictures where `path` has no splits or `validation_split` is null; photographs, and
    persons where known, are on one side only."""
    split_seed: int = 0
    """Of that share: its own, so that runs with different seeds are measured on the same pictures."""
    leak_free: bool = False
    """Leave out training pictures that validation has too, exactly or nearly, and subjects that it has. Off, since
    published figures are measured without."""
    require_subjects: bool = False
    """Refuse data that does not say who is in each picture, so that nobody is learned from and measured on."""
    crop_pixels: int = 64
    """Side of the crops that the net is trained, measured and served at. A net answers best at the side it knows."""

    def __post_init__(self) -> None:
        share = self.validation_share
        _check(
            "data",
            ("validation_share", share, 0 < share < 1, "more than 0 and less than 1"),
            ("crop_pixels", self.crop_pixels, self.crop_pixels >= 16, "16 or more"),
        )


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How a training crop is varied; the first six stand for a detector's box and landmarks and for turned heads."""

    flip_probability: float = 0.5
    rotation_degrees: float = 13.0
    scale_ratio: float = 0.15
    """Zoom is drawn from 1 − ratio … 1 + ratio."""
    shift_ratio: float = 0.06
    """Shift is drawn from ± ratio of the side."""
    shear_ratio: float = 0.06
    """Shear is drawn from ± ratio: the top of the face moves against its bottom by this share of the side."""
    perspective_ratio: float = 0.08
    """One side of the face is drawn larger than the other by up to this ratio."""
    brightness_levels: float = 25.0
    contrast_ratio: float = 0.3
    gamma_ratio: float = 0.35
    uneven_light_probability: float = 0.2
    uneven_light_ratio: float = 0.5
    """Light falls off across the face, in any direction, by up to this ratio about the middle."""
    blur_probability: float = 0.15
    low_resolution_probability: float = 0.15
    min_low_resolution_pixels: int = 16
    noise_probability: float = 0.2
    noise_levels: float = 8.0
    """Largest standard deviation of the noise, of 255 levels."""
    jpeg_probability: float = 0.1
    min_jpeg_quality: int = 20
    """Quality is drawn from this to 90."""
    erase_probability: float = 0.3
    max_erase_ratio: float = 0.4
    """Largest side of the erased rectangle, of the side of the crop."""
    mixup_probability: float = 0.25
    mixup_alpha: float = 0.2
    cutmix_probability: float = 0.0
    """Of the pictures that are not mixed up; a rectangle of up to half of the picture comes from another."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if name.endswith("_probability"):
                _check("augment", (name, value, 0 <= value <= 1, "0 to 1"))
        _check(
            "augment",
            ("min_jpeg_quality", self.min_jpeg_quality, 1 <= self.min_jpeg_quality <= 90, "1 to 90"),
            ("scale_ratio", self.scale_ratio, 0 <= self.scale_ratio < 1, "0 or more and less than 1"),
            (
                "perspective_ratio",
                self.perspective_ratio,
                0 <= self.perspective_ratio < 0.5,
                "0 or more and less than 0.5",
            ),
            ("mixup_alpha", self.mixup_alpha, self.mixup_alpha > 0, "more than 0"),
        )


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network; `training.nets.build.build_model` knows the architectures."""

    architecture: Literal["compact", "vgg", "resnet", "inception", "efficientnet_lite"] = "compact"
    variant: str | None = None
    """One of the architecture's nets, `resnet18` for example; None is its first: `small`, or `lite0`."""
    widths: tuple[int, ...] = (32, 64, 128, 256)
    """Channels of each stage; only `small` variants of compact, vgg and resnet ask for widths and depths."""
    depths: tuple[int, ...] = (1, 1, 2, 2)
    """Blocks (of VGG convolutions) of each stage; each stage works at half the resolution of the one before."""
    stem_stride: int | None = None
    """How much the first stage shrinks the crop; None is what suits the architecture on crops of 64 px."""
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
    sam_radius: float = 0.0
    """Sharpness-aware minimisation (`training.loop.sam`) within this radius, 0.05 for example; a step then
    costs twice as much. 0 is plain descent."""
    small_crop_fraction: float = 0.0
    """The first part of training that works on smaller crops: the same net at nearly half the cost of a step."""
    small_crop_pixels: int = 48
    """Side of these crops."""
    ema_decay: float = 0.999
    ferplus_weight: float = 1.0
    fer2013_weight: float = 1.0
    label_smoothing: float = 0.1
    """Of the challenge labels only: the votes are soft already."""

    def __post_init__(self) -> None:
        minutes = self.time_budget_minutes
        _check(
            "optim",
            ("epochs", self.epochs, self.epochs >= 1, "1 or more"),
            ("batch_size", self.batch_size, self.batch_size >= 2, "2 or more"),
            ("time_budget_minutes", minutes, minutes is None or minutes > 0, "more than 0"),
            ("ema_decay", self.ema_decay, 0 <= self.ema_decay < 1, "0 or more and less than 1"),
            ("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "0 or more and less than 1"),
            ("sam_radius", self.sam_radius, self.sam_radius >= 0, "0 or more"),
            ("small_crop_pixels", self.small_crop_pixels, self.small_crop_pixels >= 8, "8 or more"),
        )


@dataclass(frozen=True, slots=True)
class BalanceConfig:
    """What is done about rare classes; see `training.loop.loss`."""

    method: Literal["none", "effective_number", "logit_adjustment"] = "none"
    beta: float = 0.999
    """Of `effective_number`: 0 weighs all pictures alike, towards 1 the weight becomes that of the inverse count."""
    tau: float = 1.0
    """Of `logit_adjustment`: how much of the class frequencies is taken out; 1 aims at balanced accuracy."""

    def __post_init__(self) -> None:
        _check("balance", ("beta", self.beta, 0 <= self.beta < 1, "0 or more and less than 1"))


@dataclass(frozen=True, slots=True)
class ValidationConfig:
    """When a run is measured, and what its measures decide."""

    every_epochs: int = 1
    """The last epoch is measured in any case."""
    max_crops: int | None = None
    """Measure on so many validation crops, the same ones each time; None is all of them."""
    metric: Literal["score", "accuracy", "ferplus_accuracy", "fer2013_loss", "ferplus_loss"] = "score"
    """What `best.pt` is best in and what early stopping watches; `score` is the mean of the two accuracies."""
    patience_epochs: int | None = None
    """Stop when the metric has not become better for so many epochs; None lets the schedule end by itself."""

    def __post_init__(self) -> None:
        patience = self.patience_epochs
        _check(
            "validation",
            ("every_epochs", self.every_epochs, self.every_epochs >= 1, "1 or more"),
            ("max_crops", self.max_crops, self.max_crops is None or self.max_crops >= 1, "1 or more"),
            ("patience_epochs", patience, patience is None or patience >= 1, "1 or more"),
        )


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """Learning from larger nets; see `training.loop.distill`."""

    teachers: tuple[str, ...] = ()
    """Checkpoints, for example `runs/teacher/last.pt`; none means learning from labels alone."""
    weight: float = 0.7
    """Share of the loss that is against the teachers' answers; the rest is against the labels."""
    num_views: int = 0
    """0: the teachers look at each batch of the pupil. Else they look once, before training, at so many variants of
    each picture, and their mean answer is mixed into its labels; a step costs no more than without teachers then."""

    def __post_init__(self) -> None:
        _check(
            "distill",
            ("weight", self.weight, 0 <= self.weight <= 1, "0 to 1"),
            ("num_views", self.num_views, self.num_views >= 0, "0 or more"),
        )


@dataclass(frozen=True, slots=True)
class TransferConfig:
    """Starting from weights that were trained on something else; see `training.loop.transfer`."""

    pretrained: str = "none"
    """`none`, `imagenet`, or a checkpoint of this package, whose trunk is taken where the shapes fit."""
    load_heads: bool = False
    """Take the heads of the checkpoint too."""
    unfreeze_at: tuple[float, ...] = ()
    """Only the heads move at first; at each of these points of training, 0 to 1, the next part of the trunk is freed,
    from the top down, in as many equal parts as there are points. None: everything moves from the start."""
    rate_decay: float = 1.0
    """The learning rate of each stage is that of the stage above it times this; the heads have the full rate."""

    def __post_init__(self) -> None:
        points = self.unfreeze_at
        rises = all(0 <= point <= 1 for point in points) and list(points) == sorted(points)
        _check(
            "transfer",
            ("unfreeze_at", list(points), rises, "rising points from 0 to 1"),
            ("rate_decay", self.rate_decay, 0 < self.rate_decay <= 1, "more than 0, at most 1"),
        )


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All settings of a run."""

    name: str = "run"
    seed: int = 0
    num_threads: int = 2
    """Of a machine; its worker processes share them."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` is the GPU where there is one."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Of the forward pass; weights and their updates are fp32. fp16 is for GPUs that have no bf16."""
    deterministic: bool = True
    """The same weights from the same settings; false lets a GPU choose faster convolutions."""
    tensorboard: bool = False
    """Event files for TensorBoard in the run folder, beside `metrics.csv`."""
    compile: bool = False
    """Let TorchInductor compile the training step; needs a C++ compiler."""
    initial_checkpoint: str | None = None
    """Start from the averaged weights of this checkpoint instead of random ones."""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)


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
        apply_override(tree, override)
    return config_from_dict(tree)


def config_from_dict(tree: dict[str, Any]) -> TrainConfig:
    """A mapping of differences → the effective settings (checked)."""
    return build_settings(TrainConfig, tree)


def config_as_dict(config: TrainConfig) -> dict[str, Any]:
    """The effective settings as plain values, ready for YAML."""
    return typing.cast("dict[str, Any]", plain_values(dataclasses.asdict(config)))


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the effective settings as YAML.

    Raises:
        EmostreamError: the disk is full or the folder cannot be written.
    """
    with whole_file(path) as file:
        file.write(yaml.safe_dump(config_as_dict(config), sort_keys=False).encode())
