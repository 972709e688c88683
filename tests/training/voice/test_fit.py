"""The machine on made examples, and its ONNX form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from training.voice.examples import Examples
from training.voice.fit import ArousalMachine, fit, of_speakers, onnx_from
from training.voice.measure import calibration_error, figures_from


def made_examples(*, distance: float, seed: int = 0) -> Examples:
    """Two clouds in six dimensions, of four speakers that differ a little."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(["01", "02", "03", "04"], 60)
    is_high = np.tile([False, True], 120)
    features = rng.standard_normal((240, 6)) + np.repeat(rng.normal(0, 0.2, (4, 6)), 60, axis=0)
    features[:, 0] += distance * is_high
    return Examples(features.astype(np.float32), is_high, speakers)


@pytest.fixture(scope="module")
def machine() -> ArousalMachine:
    return fit(made_examples(distance=2.0))


def test_probabilities_of_a_new_speaker_are_right_and_calibrated(machine: ArousalMachine) -> None:
    others = made_examples(distance=2.0, seed=1)
    figures = figures_from(machine.probabilities(others.features), others.is_high, others.speakers)
    assert figures.balanced_accuracy > 0.75
    assert figures.calibration_error < 0.12
    assert set(figures.by_speaker) == {"01", "02", "03", "04"}


def test_features_without_information_give_even_probabilities() -> None:
    machine = fit(made_examples(distance=0.0))
    probabilities = machine.probabilities(made_examples(distance=0.0, seed=1).features)
    assert np.abs(probabilities - 0.5).mean() < 0.15


def test_the_network_computes_what_was_fitted(machine: ArousalMachine, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx_from(machine), str(path))
    features = made_examples(distance=2.0, seed=2).features
    (computed,) = onnxruntime.InferenceSession(str(path)).run(["arousal"], {"features": features})
    assert computed == pytest.approx(machine.probabilities(features), abs=1e-4)
    assert computed.shape == (240,)


def test_speakers_are_taken_out_whole() -> None:
    examples = made_examples(distance=1.0)
    rest = of_speakers(examples, examples.speakers != "02")
    assert set(rest.speakers) == {"01", "03", "04"}
    assert len(rest.features) == len(rest.is_high) == 180


def test_the_calibration_error_is_the_distance_between_what_was_said_and_what_was() -> None:
    assert calibration_error(np.full(10, 0.9), np.arange(10) < 5) == pytest.approx(0.4)
