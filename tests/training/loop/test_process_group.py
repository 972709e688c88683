"""Processes that train together: the meetings, with two real processes joined by gloo."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from training.loop.process_group import ALONE, World

CPU = torch.device("cpu")


def test_alone_every_meeting_is_empty() -> None:
    value = torch.tensor([1.0, 2.0])
    ALONE.average([value])
    assert value.tolist() == [1.0, 2.0]
    assert ALONE.of_first(3.5, device=CPU) == 3.5
    assert ALONE.join(value) is value
    assert ALONE.share(value) is not None
    assert ALONE.share(value).tolist() == [1.0, 2.0]
    assert ALONE.is_first


@given(st.integers(0, 100), st.integers(1, 8))
def test_the_shares_of_all_are_the_whole_and_alike(num: int, size: int) -> None:
    index = torch.arange(num)
    shares = [World(rank, size).share(index) for rank in range(size)]
    assert torch.cat(shares).tolist() == index.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def _meet(rank: int, port: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    world = World(rank, 2)
    mean = torch.tensor([float(rank), 10.0])
    world.average([mean])
    # Both see their own pictures; what they then know together must not depend on how often they talked.
    seldom, often = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(5):
        batch = torch.randn(16, 2, generator=generator) * 3 + rank
        seldom(batch)
        often(batch)
        world.average_batch_statistics(often)
    world.average_batch_statistics(seldom)
    seen = {
        "mean": mean,
        "first": world.of_first(float(rank + 7), device=CPU),
        "joined": world.join(torch.full((rank + 1, 2), float(rank))),
        "seldom": seldom.state_dict(),
        "often": often.state_dict(),
    }
    torch.save(seen, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.integration
@pytest.mark.slow
def test_two_processes_agree(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_meet, args=(port, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    seen = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for one in seen:
        assert one["mean"].tolist() == [0.5, 10.0]
        assert one["first"] == 7.0
        assert one["joined"].tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(one["seldom"][name], seen[0]["seldom"][name], rtol=0, atol=0)
            torch.testing.assert_close(one["seldom"][name], one["often"][name])
