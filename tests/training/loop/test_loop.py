"""The training loop: what repeats exactly, what fp16 adds, and when a loss that is no number is noticed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from emostream.errors import InferenceError
from training.config import TrainConfig
from training.loop.device import CPU, Compute
from training.loop.run import RunContext, progress_of, train
from training.loop.state import TrainState, start_or_resume
from training.loop.train_set import load_sets

pytestmark = pytest.mark.heavy

# fit() refuses this on a CPU because it is slow there, not because it is wrong.
HALF = Compute(torch.device("cpu"), "fp16")


def started(config: TrainConfig, run: Path, *, compute: Compute = CPU) -> tuple[TrainState, RunContext]:
    torch.manual_seed(config.seed)
    state = start_or_resume(config, run, compute=compute)
    return state, RunContext(config, forward=state.model, compute=compute)


def train_whole(state: TrainState, context: RunContext) -> list[dict[str, float]]:
    """Train to the end of the schedule without a run folder; returns the losses of each epoch."""
    lines: list[dict[str, float]] = []
    train(state, *load_sets(context.config), context, on_epoch=lines.append)
    return [{name: value for name, value in line.items() if name.startswith("train_")} for line in lines]


def with_optim(config: TrainConfig, **changes: object) -> TrainConfig:
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("radius", [0.0, 0.05])
def test_training_repeats_exactly(tmp_path: Path, tiny_config: TrainConfig, radius: float) -> None:
    ends = []
    for _ in range(2):
        state, context = started(with_optim(tiny_config, sam_radius=radius, epochs=2), tmp_path)
        losses = train_whole(state, context)
        ends.append((losses, state.model.state_dict()))
    assert ends[0][0] == ends[1][0]
    for name, weight in ends[0][1].items():
        assert torch.equal(weight, ends[1][1][name]), name
    assert progress_of(state, tiny_config) == pytest.approx(2 / 3)


@pytest.mark.parametrize("radius", [0.0, 0.05])
def test_fp16_scales_its_gradients_and_comes_to_nearly_the_same(
    tmp_path: Path, tiny_config: TrainConfig, radius: float
) -> None:
    config = with_optim(tiny_config, sam_radius=radius, epochs=1)
    (in_full,) = train_whole(*started(config, tmp_path))
    half, context = started(config, tmp_path, compute=HALF)
    (in_half,) = train_whole(half, context)
    assert half.scaler.state_dict()["scale"] >= 1.0
    assert in_half["train_loss"] == pytest.approx(in_full["train_loss"], rel=0.02)


def test_fp16_leaves_out_a_step_whose_gradients_overflow(tmp_path: Path, tiny_config: TrainConfig) -> None:
    state, context = started(with_optim(tiny_config, batch_size=128, epochs=1), tmp_path, compute=HALF)
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 2.0**60})
    before = {name: parameter.clone() for name, parameter in state.model.named_parameters()}
    train_whole(state, context)
    assert all(torch.equal(before[name], parameter) for name, parameter in state.model.named_parameters())
    assert state.scaler.state_dict()["scale"] < 2.0**60


def test_a_loss_that_is_no_number_ends_the_epoch(tmp_path: Path, tiny_config: TrainConfig) -> None:
    state, context = started(tiny_config, tmp_path)
    with torch.no_grad():
        state.model.fer2013_head.bias.fill_(float("inf"))
    with pytest.raises(InferenceError, match="nan in epoch 1"):
        train_whole(state, context)
