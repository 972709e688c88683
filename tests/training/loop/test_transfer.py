"""Transfer: the laws of unfreezing and of rates, what a frozen stage keeps, and which checkpoints fit."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emostream.errors import ConfigError, ModelUnavailableError
from training.config import ModelConfig, TrainConfig, TransferConfig, load_config
from training.loop.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.loop.run import fit
from training.loop.transfer import (
    freeze_stages,
    load_pretrained,
    num_free_stages,
    parameter_groups,
    rate_factors,
    set_learning_rate,
)
from training.nets.build import FaceNet, build_model

SMALL = ModelConfig(widths=(4, 8), depths=(1, 1))
points = st.lists(st.floats(0, 1), max_size=5).map(lambda values: tuple(sorted(values)))


@given(points, st.integers(1, 20), st.floats(0, 1), st.floats(0, 1))
def test_stages_are_only_ever_freed(unfreeze_at: tuple[float, ...], num_stages: int, one: float, other: float) -> None:
    earlier, later = (
        num_free_stages(progress, num_stages=num_stages, unfreeze_at=unfreeze_at) for progress in sorted((one, other))
    )
    assert 0 <= earlier <= later <= num_stages


@given(points, st.integers(1, 20))
def test_only_heads_move_before_the_first_point_and_all_after_the_last(
    unfreeze_at: tuple[float, ...], num_stages: int
) -> None:
    assert num_free_stages(1.0, num_stages=num_stages, unfreeze_at=unfreeze_at) == num_stages
    if unfreeze_at:
        assert num_free_stages(unfreeze_at[0] - 1e-9, num_stages=num_stages, unfreeze_at=unfreeze_at) == 0


@given(st.integers(1, 20), st.floats(0.1, 1))
def test_rates_fall_by_the_same_ratio_from_stage_to_stage(num_stages: int, rate_decay: float) -> None:
    factors = (*rate_factors(num_stages=num_stages, rate_decay=rate_decay), 1.0)
    for below, above in pairwise(factors):
        assert below == pytest.approx(above * rate_decay)


@pytest.mark.parametrize("rate_decay", [0.5, 1.0])
def test_every_weight_is_in_one_group_with_the_rate_of_its_stage(rate_decay: float) -> None:
    model = build_model(SMALL)
    groups = parameter_groups(model, weight_decay=0.1, rate_decay=rate_decay)
    set_learning_rate(groups, 0.2)
    owner = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(owner) == sum(len(group["params"]) for group in groups) == len([*model.parameters()])
    for depth, stage in enumerate(reversed(model.stages()), start=1):
        for parameter in stage.parameters():
            assert owner[id(parameter)]["lr"] == pytest.approx(0.2 * rate_decay**depth)
    assert owner[id(model.fer2013_head.weight)]["lr"] == 0.2
    for parameter in model.parameters():
        assert owner[id(parameter)]["weight_decay"] == (0.1 if parameter.dim() > 1 else 0.0)


def test_without_decay_there_are_the_two_groups_of_older_checkpoints() -> None:
    model = build_model(SMALL)
    groups = parameter_groups(model, weight_decay=0.1, rate_decay=1.0)
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    free = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    assert [[id(p) for p in group["params"]] for group in groups] == [[id(p) for p in part] for part in (decayed, free)]
    for group in groups:
        del group["rate_factor"]
    set_learning_rate(groups, 0.3)
    assert [group["lr"] for group in groups] == [0.3, 0.3]


def moved_by_a_step(model: FaceNet, config: TransferConfig, *, progress: float) -> set[str]:
    """One step at this point of training → the parts of the net whose weights or statistics moved."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(parameter_groups(model, weight_decay=0.1, rate_decay=1.0), lr=0.1, momentum=0.9)
    optimizer.zero_grad()
    model.train()
    freeze_stages(model, config, progress=progress)
    ferplus, fer2013 = model(torch.randint(0, 256, (8, 48, 48), dtype=torch.uint8))
    (ferplus.square().sum() + fer2013.square().sum()).backward()
    optimizer.step()
    moved = {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}
    return {".".join(key.split(".")[: 2 if key.startswith("blocks") else 1]) for key in moved}


def test_a_frozen_stage_keeps_its_weights_and_its_statistics() -> None:
    model = build_model(SMALL)  # a stem and two blocks
    config = TransferConfig(unfreeze_at=(0.2, 0.4, 0.6))
    heads = {"ferplus_head", "fer2013_head"}
    assert moved_by_a_step(model, config, progress=0.0) == heads
    assert moved_by_a_step(model, config, progress=0.3) == heads | {"blocks.1"}
    assert moved_by_a_step(model, config, progress=0.5) == heads | {"blocks.1", "blocks.0"}
    assert moved_by_a_step(model, config, progress=0.7) == heads | {"blocks.1", "blocks.0", "stem"}
    assert moved_by_a_step(model, config, progress=0.1) == heads


def checkpoint_of(config: ModelConfig, path: Path) -> FaceNet:
    torch.manual_seed(7)
    model = build_model(config)
    weights = model.state_dict()
    settings = TrainConfig(model=config)
    save_checkpoint(Checkpoint(settings, 1, 1, 1.0, weights, weights, {}, {}, 0.0), path)
    return model


def transferring(path: Path, model: ModelConfig = SMALL, **transfer: object) -> TrainConfig:
    settings = TransferConfig(pretrained=str(path), **transfer)  # type: ignore[arg-type]
    return TrainConfig(model=model, transfer=settings)


@pytest.mark.parametrize("load_heads", [False, True])
def test_takes_the_trunk_of_a_checkpoint_and_optionally_its_heads(tmp_path: Path, load_heads: bool) -> None:
    theirs = checkpoint_of(SMALL, tmp_path / "a.pt").state_dict()
    model = build_model(SMALL)
    transferred = load_pretrained(model, transferring(tmp_path / "a.pt", load_heads=load_heads))
    same = {key for key, value in model.state_dict().items() if torch.equal(value, theirs[key])}
    heads = {key for key in theirs if "_head" in key}
    assert same == set(theirs) - (set() if load_heads else heads)
    assert transferred is not None
    assert set(transferred.left) == (set() if load_heads else heads)


def test_takes_what_fits_of_a_net_of_another_width(tmp_path: Path) -> None:
    checkpoint_of(ModelConfig(widths=(4, 16), depths=(1, 1)), tmp_path / "a.pt")
    transferred = load_pretrained(build_model(SMALL), transferring(tmp_path / "a.pt"))
    assert transferred is not None
    assert any(key.startswith("blocks.1.") for key in transferred.left)
    assert "stem.0.weight" not in transferred.left
    assert f"taken from {tmp_path / 'a.pt'}; fresh: blocks.1.conv1.weight" in str(transferred)


def test_refuses_another_architecture(tmp_path: Path) -> None:
    checkpoint_of(ModelConfig("resnet", widths=(4,), depths=(1,)), tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=r"resnet.*compact"):
        load_pretrained(build_model(SMALL), transferring(tmp_path / "a.pt"))


def test_refuses_a_checkpoint_of_which_nothing_fits(tmp_path: Path) -> None:
    checkpoint_of(ModelConfig(widths=(5,), depths=(1,)), tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=r"\(5,\)"):
        load_pretrained(build_model(SMALL), transferring(tmp_path / "a.pt"))


def test_says_that_a_checkpoint_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError):
        load_pretrained(build_model(SMALL), transferring(tmp_path / "a.pt"))


def test_one_start_only(tmp_path: Path) -> None:
    config = dataclasses.replace(transferring(tmp_path / "a.pt"), initial_checkpoint="b.pt")
    with pytest.raises(ConfigError):
        load_pretrained(build_model(SMALL), config)


def test_nothing_is_taken_by_default() -> None:
    assert load_pretrained(build_model(SMALL), TrainConfig(model=SMALL)) is None


@pytest.mark.parametrize("setting", ["unfreeze_at=[0.5, 0.1]", "unfreeze_at=[1.5]", "rate_decay=0", "rate_decay=1.5"])
def test_impossible_settings_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides=(f"transfer.{setting}",))
    assert f"transfer.{setting.partition('=')[0]}" in str(caught.value)


@pytest.mark.slow
def test_a_run_moves_only_what_is_free(tmp_path: Path, tiny_config: TrainConfig) -> None:
    trunk = {
        key: value
        for key, value in checkpoint_of(tiny_config.model, tmp_path / "a.pt").state_dict().items()
        if "_head" not in key
    }
    for name, unfreeze_at, is_kept in (("heads", (1.0,), True), ("all", (0.4,), False)):
        transfer = TransferConfig(pretrained=str(tmp_path / "a.pt"), unfreeze_at=unfreeze_at, rate_decay=0.5)
        fit(dataclasses.replace(tiny_config, transfer=transfer), tmp_path / name, show_progress=False)
        trained = load_checkpoint(tmp_path / name / "last.pt")
        for weights in (trained.weights, trained.ema_weights):
            assert all(torch.equal(weights[key], value) for key, value in trunk.items()) == is_kept
        assert [group["rate_factor"] for group in trained.optimizer["param_groups"]][-2:] == [1.0, 1.0]
