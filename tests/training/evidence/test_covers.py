"""What is drawn before faces, and the net that learns from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from emostream.vision.classify.covers import COVERS_MODEL, COVERS_SIDE
from emostream.vision.engines.ort_network import OrtNetwork
from training.evidence.covers import SIDE, drawn
from training.evidence.train_covers import CoversNet, answers, cover_set, fit, write_onnx

# Smooth faces of noise: what is drawn does not depend on what they show.
PICTURES = np.random.default_rng(0).integers(90, 160, (40, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="module")
def targets() -> npt.NDArray[np.float64]:
    """Of many drawings, what they cover."""
    draws = np.random.default_rng(1)
    made = [drawn(picture, PICTURES, draws) for _ in range(10) for picture in PICTURES]
    assert {(one.pixels.shape, one.pixels.dtype.name) for one in made} == {((SIDE, SIDE), "uint8")}
    return np.array([(one.eyes, one.mouth) for one in made])


def test_all_that_a_net_must_tell_apart_is_drawn(targets: npt.NDArray[np.float64]) -> None:
    known = targets[~np.isnan(targets).any(axis=1)]
    assert set(map(tuple, known)) == {(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)}
    assert np.isnan(targets).any()
    assert 0.4 < np.mean(known.max(axis=1) == 0) < 0.7
    eyes, mouth = known.mean(axis=0).tolist()
    assert 0.08 < eyes < 0.3
    assert 0.2 < mouth < 0.45


def test_a_seed_draws_the_same() -> None:
    first, second = (drawn(PICTURES[0], PICTURES, np.random.default_rng(seed)) for seed in (7, 7))
    assert np.array_equal(first.pixels, second.pixels)
    assert (first.eyes, first.mouth) == pytest.approx((second.eyes, second.mouth), nan_ok=True)


def test_the_written_net_answers_as_the_trained_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, made = CoversNet(), cover_set(PICTURES, copies=7, seed=0)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    fit(net, made, epochs=1, rate=1e-3, generator=torch.Generator().manual_seed(0))
    assert any(not torch.equal(one, other) for one, other in zip(before, net.parameters(), strict=True))
    path = tmp_path / "covers.onnx"
    write_onnx(net, path)
    network = OrtNetwork(path, path=path, kind="a net that sees covered faces")
    network.check(input_name="crops", output_names=["covered"])
    (found,) = network.run(made.pixels[:9].numpy(), output_names=["covered"])
    assert found == pytest.approx(answers(net, made.pixels[:9]), abs=1e-4)


def test_the_shipped_net_takes_any_number_of_crops() -> None:
    network = OrtNetwork(COVERS_MODEL, path=COVERS_MODEL, kind="the net that sees covered faces")
    assert network.input_shape[1:] == [1, COVERS_SIDE, COVERS_SIDE]
    for num in (1, 5):
        crops = np.zeros((num, 1, COVERS_SIDE, COVERS_SIDE), np.uint8)
        assert network.run(crops, output_names=["covered"])[0].shape == (num, 2)
