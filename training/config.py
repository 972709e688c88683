"""The settings of one training run: pydantic dataclasses, a YAML file of differences, and `key=value` overrides.

Precedence: override on the command line, then the YAML file, then the default written here. The effective settings are
saved in the run folder, so a run can always be repeated and a later stage never guesses.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails, PydanticCustomError

from emostream.errors import ConfigError
from emostream.files import whole_file


def _number(value: Any) -> Any:
    # YAML reads 1e-3 as text.
    with contextlib.suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _rising(points: tuple[float, ...]) -> tuple[float, ...]:
    if list(points) != sorted(points):
        raise PydanticCustomError("rising", "Input should be rising points from 0 to 1")
    return points


Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), BeforeValidator(_number)]
Share = Annotated[Number, Field(ge=0, le=1)]
Switch = Annotated[bool, Strict()]

_CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True, config=_CHECKED)
class DataConfig:
    """What is learned from and what is measured on."""

    path: str = "../shared/data/fer2013"
    """Any of the forms that `training.data.load.load_faces` reads."""
    train_split: str | None = "training"
    validation_split: str | None = None
    """What chooses: the best epoch, when to stop, the scaling of the logits. None keeps `validation_share` of the
    training pictures apart, so that a split that figures are reported for, such as `publictest`, chooses nothing."""
    validation_path: str | None = None
    """Where the validation pictures are when they are not in `path`."""
    validation_share: Number = Field(default=0.1, gt=0, lt=1)
    """Kept apart from the training pictures where `path` has no splits or `validation_split` is null; photographs, and
    persons where known, are on one side only."""
    split_seed: Whole = 0
    """Of that share: its own, so that runs with different seeds are measured on the same pictures."""
    leak_free: Switch = False
    """Leave out training pictures that validation has too, exactly or nearly, and subjects that it has. Off, since
    published figures are measured without."""
    require_subjects: Switch = False
    """Refuse data that does not say who is in each picture, so that no person is in both splits."""
    crop_pixels: Whole = Field(default=64, ge=16)
    """Side of the crops that the net is trained, measured and served at. A net answers best at the side it knows."""


@dataclass(frozen=True, slots=True, config=_CHECKED)
class AugmentConfig:
    """How a training crop is varied; the first six stand for a detector's box and landmarks and for turned heads."""

    flip_probability: Share = 0.5
    rotation_degrees: Number = 13.0
    scale_ratio: Number = Field(default=0.15, ge=0, lt=1)
    """Zoom is drawn from 1 − ratio … 1 + ratio."""
    shift_ratio: Number = 0.06
    """Shift is drawn from ± ratio of the side."""
    shear_ratio: Number = 0.06
    """Shear is drawn from ± ratio: the top of the face moves against its bottom by this share of the side."""
    perspective_ratio: Number = Field(default=0.08, ge=0, lt=0.5)
    """One side of the face is drawn larger than the other by up to this ratio."""
    brightness_levels: Number = 25.0
    contrast_ratio: Number = 0.3
    gamma_ratio: Number = 0.35
    uneven_light_probability: Share = 0.2
    uneven_light_ratio: Number = 0.5
    """Light falls off across the face, in any direction, by up to this ratio about the middle."""
    blur_probability: Share = 0.15
    low_resolution_probability: Share = 0.15
    min_low_resolution_pixels: Whole = 16
    noise_probability: Share = 0.2
    noise_levels: Number = 8.0
    """Largest standard deviation of the noise, of 255 levels."""
    jpeg_probability: Share = 0.1
    min_jpeg_quality: Whole = Field(default=20, ge=1, le=90)
    """Quality is drawn from this to 90."""
    erase_probability: Share = 0.3
    max_erase_ratio: Number = 0.4
    """Largest side of the erased rectangle, of the side of the crop."""
    mixup_probability: Share = 0.25
    mixup_alpha: Number = Field(default=0.2, gt=0)
    cutmix_probability: Share = 0.0
    """Of the pictures that are not mixed up; a rectangle of up to half of the picture comes from another."""


@dataclass(frozen=True, slots=True, config=_CHECKED)
class ModelConfig:
    """The network; `training.nets.build.build_model` knows the architectures."""

    architecture: Literal["compact", "repvgg", "vgg", "resnet", "inception", "efficientnet_lite"] = "compact"
    variant: str | None = None
    """One of the architecture's nets, `resnet18` for example; None is its first: `small`, or `lite0`."""
    widths: tuple[Whole, ...] = (32, 64, 128, 256)
    """Channels of each stage; only `small` variants of compact, repvgg, vgg and resnet ask for widths and depths."""
    depths: tuple[Whole, ...] = (1, 1, 2, 2)
    """Blocks (of VGG convolutions) of each stage; each stage works at half the resolution of the one before."""
    stem_stride: Whole | None = None
    """How much the first stage shrinks the crop; None is what suits the architecture on crops of 64 px."""
    dropout: Number = 0.3
    other_votes: Switch = False
    """The head for votes also predicts the shares of contempt, unknown and not a face (FER+'s columns)."""


@dataclass(frozen=True, slots=True, config=_CHECKED)
class OptimConfig:
    """How the weights move."""

    epochs: Whole = Field(default=50, ge=1)
    time_budget_minutes: Number | None = Field(default=None, gt=0)
    """When set, the schedule ends after this much training time even if fewer epochs fitted in."""
    batch_size: Whole = Field(default=128, ge=2)
    peak_learning_rate: Number = 0.1
    warmup_fraction: Number = 0.1
    final_learning_rate_ratio: Number = 0.001
    momentum: Number = 0.9
    weight_decay: Number = 5e-4
    max_gradient_norm: Number = 5.0
    sam_radius: Number = Field(default=0.0, ge=0)
    """Sharpness-aware minimisation (`training.loop.sam`) within this radius, 0.05 for example; a step then
    costs twice as much. 0 is plain descent."""
    small_crop_fraction: Number = 0.0
    """The first part of training that works on smaller crops: the same net at nearly half the cost of a step."""
    small_crop_pixels: Whole = Field(default=48, ge=8)
    """Side of these crops."""
    ema_decay: Number = Field(default=0.999, ge=0, lt=1)
    ferplus_weight: Number = 1.0
    fer2013_weight: Number = 1.0
    label_smoothing: Number = Field(default=0.1, ge=0, lt=1)
    """Of the challenge labels only: the votes are soft already."""

    @property
    def time_budget_seconds(self) -> float | None:
        """`time_budget_minutes` in seconds."""
        return None if self.time_budget_minutes is None else self.time_budget_minutes * 60


@dataclass(frozen=True, slots=True, config=_CHECKED)
class BalanceConfig:
    """What is done about rare classes; see `training.loop.loss`."""

    method: Literal["none", "effective_number", "logit_adjustment"] = "none"
    beta: Number = Field(default=0.999, ge=0, lt=1)
    """Of `effective_number`: 0 weighs all pictures alike, towards 1 the weight becomes that of the inverse count."""
    tau: Number = 1.0
    """Of `logit_adjustment`: how much of the class frequencies is taken out; 1 aims at balanced accuracy."""


@dataclass(frozen=True, slots=True, config=_CHECKED)
class ValidationConfig:
    """When a run is measured, and what its measures decide."""

    every_epochs: Whole = Field(default=1, ge=1)
    """The last epoch is measured in any case."""
    max_crops: Whole | None = Field(default=None, ge=1)
    """Number of validation crops to measure on, the same ones each time; None is all of them."""
    metric: Literal["score", "accuracy", "ferplus_accuracy", "fer2013_loss", "ferplus_loss"] = "score"
    """What `best.pt` is best in and what early stopping watches; `score` is the mean of the two accuracies."""
    patience_epochs: Whole | None = Field(default=None, ge=1)
    """Early stopping: epochs without an improvement of the metric; None trains to the end of the schedule."""


@dataclass(frozen=True, slots=True, config=_CHECKED)
class DistillConfig:
    """Learning from larger nets; see `training.loop.distill`."""

    teachers: tuple[str, ...] = ()
    """Checkpoints, for example `runs/teacher/last.pt`, or exported models (`.onnx` with the manifest beside it); none
    means learning from labels alone."""
    teacher_sha256: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...] = ()
    """Hash of each teacher's file; none means that any file of that name is taken."""
    weight: Share = 0.7
    """Share of the loss that is against the teachers' answers; the rest is against the labels."""
    num_views: Whole = Field(default=0, ge=0)
    """0: the teachers look at each batch of the student. Else they look once, before training, at this number of
    variants of each picture, and their mean answer is mixed into its labels; a step then costs no more than without
    teachers."""


@dataclass(frozen=True, slots=True, config=_CHECKED)
class TransferConfig:
    """Starting from weights that were trained on something else; see `training.loop.transfer`."""

    pretrained: str = "none"
    """`none`, `imagenet`, or a checkpoint of this package, whose trunk is taken where the shapes fit."""
    load_heads: Switch = False
    """Take the heads of the checkpoint too."""
    unfreeze_at: Annotated[tuple[Share, ...], AfterValidator(_rising)] = ()
    """Only the heads move at first; at each of these points of training, 0 to 1, the next part of the trunk is freed,
    from the top down, in as many equal parts as there are points. None: everything moves from the start."""
    rate_decay: Number = Field(default=1.0, gt=0, le=1)
    """The learning rate of each stage is that of the stage above it times this; the heads have the full rate."""


@dataclass(frozen=True, slots=True, config=_CHECKED)
class TrainConfig:
    """All settings of a run."""

    name: str = "run"
    seed: Whole = 0
    num_threads: Whole = 2
    """Of a machine; its worker processes share them."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` is the GPU where there is one."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Of the forward pass; weights and their updates are fp32. fp16 is for GPUs that have no bf16."""
    deterministic: Switch = True
    """The same weights from the same settings; false lets a GPU choose faster convolutions."""
    tensorboard: Switch = False
    """Event files for TensorBoard in the run folder, beside `metrics.csv`."""
    compile: Switch = False
    """Let TorchInductor compile the training step; needs a C++ compiler."""
    initial_checkpoint: str | None = None
    """Start from the averaged weights of this checkpoint instead of random ones."""
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    balance: BalanceConfig = BalanceConfig()
    distill: DistillConfig = DistillConfig()
    transfer: TransferConfig = TransferConfig()
    validation: ValidationConfig = ValidationConfig()


_TYPE = TypeAdapter(TrainConfig)


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


def config_from_dict(tree: dict[str, Any]) -> TrainConfig:
    """A mapping of differences → the effective settings.

    Raises:
        ConfigError: unknown key, or a value of the wrong type or outside its range; the message names all of them.
    """
    try:
        return _TYPE.validate_python(tree)
    except ValidationError as exc:
        raise ConfigError("; ".join(map(_explain, exc.errors()))) from exc


def _explain(error: ErrorDetails) -> str:
    """What is wrong with one setting: what was expected, and what was given."""
    name = ".".join(map(str, error["loc"]))
    match error["type"]:
        case "unexpected_keyword_argument":
            section: Any = TrainConfig()
            for part in error["loc"][:-1]:
                section = getattr(section, str(part))
            return f"unknown setting {name}; known here: {', '.join(each.name for each in dataclasses.fields(section))}"
        case "dataclass_type":
            return f"setting {name} is a section, got {error['input']!r}"
        case "tuple_type":
            return f"setting {name} should be a list, got {error['input']!r}"
        case _:
            return f"setting {name} {error['msg'].removeprefix('Input ')}, got {error['input']!r}"


def config_as_dict(config: TrainConfig) -> dict[str, Any]:
    """The effective settings as plain values, ready for YAML."""
    tree: dict[str, Any] = _TYPE.dump_python(config, mode="json")
    return tree


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the effective settings as YAML.

    Raises:
        EmostreamError: the disk is full or the folder cannot be written.
    """
    with whole_file(path) as file:
        file.write(yaml.safe_dump(config_as_dict(config), sort_keys=False).encode())


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
