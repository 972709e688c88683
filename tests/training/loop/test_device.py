"""Devices and precisions: what is chosen, what is refused, and that it is said why."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
import torch

from emostream.errors import ConfigError
from training.config import TrainConfig
from training.loop.device import CPU, Compute, open_compute

has_gpu = torch.cuda.is_available()


def test_auto_takes_what_is_there() -> None:
    compute = open_compute(TrainConfig(num_threads=1))
    assert compute.device.type == ("cuda" if has_gpu else "cpu")


def test_workers_of_a_machine_share_its_threads() -> None:
    open_compute(TrainConfig(num_threads=4, device="cpu"), num_workers=2)
    assert torch.get_num_threads() == 2
    open_compute(TrainConfig(num_threads=1, device="cpu"), num_workers=4)
    assert torch.get_num_threads() == 1


@pytest.mark.skipif(has_gpu, reason="there is a GPU here")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(ConfigError, match="cuda"):
        open_compute(TrainConfig(device="cuda"))


def test_fp16_is_refused_on_a_cpu() -> None:
    with pytest.raises(ConfigError, match="fp16"):
        open_compute(TrainConfig(device="cpu", precision="fp16"))


def test_what_is_computed_in_which_precision() -> None:
    one = torch.ones(4, 4)
    with CPU.autocast():
        assert (one @ one).dtype == torch.float32
    with Compute(torch.device("cpu"), "bf16").autocast():
        assert (one @ one).dtype == torch.bfloat16
    assert isinstance(CPU.autocast(), contextlib.nullcontext)


def test_gradients_are_scaled_for_fp16_only() -> None:
    assert not CPU.scaler().is_enabled()
    assert Compute(torch.device("cpu"), "fp16").scaler().is_enabled()


def test_a_cpu_gets_tensors_as_they_are() -> None:
    tensor = torch.ones(3)
    assert CPU.put(tensor) is tensor


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_trains_on_a_gpu(tmp_path: Path, tiny_config: TrainConfig, precision: str) -> None:
    if not has_gpu:
        pytest.skip("needs a GPU")

    from training.loop.run import fit

    optim = dataclasses.replace(tiny_config.optim, epochs=12)
    config = dataclasses.replace(tiny_config, optim=optim, device="cuda", precision=precision)  # type: ignore[arg-type]
    metrics = fit(config, tmp_path / "run", show_progress=False)
    assert metrics["accuracy"] > 0.5
