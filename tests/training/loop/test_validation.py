"""Measures of validation, and what they decide."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from emostream.errors import ConfigError, InferenceError
from tests.training.made import made_faces
from training.config import TrainConfig, ValidationConfig
from training.loop.train_set import load_sets, prepare
from training.loop.validation import predict, require_measurable, score_of, validate
from training.nets.build import build_model

MEASURES = {"accuracy": 0.5, "ferplus_accuracy": 0.7, "fer2013_loss": 1.5, "ferplus_loss": 1.0}


@pytest.mark.parametrize(
    ("metric", "score"), [("score", 0.6), ("accuracy", 0.5), ("ferplus_accuracy", 0.7), ("fer2013_loss", -1.5)]
)
def test_more_is_better_whatever_decides(metric: str, score: float) -> None:
    assert score_of(MEASURES, ValidationConfig(metric=metric)) == pytest.approx(score)  # type: ignore[arg-type]


def test_measures_are_those_of_the_answers(tiny_config: TrainConfig) -> None:
    data, model = prepare(made_faces(70)), build_model(tiny_config.model)
    ferplus, fer2013 = predict(model, data.crops, batch_size=32)
    assert ferplus.shape == fer2013.shape == (70, 7)
    measured = validate(model, data)
    assert measured["accuracy"] == pytest.approx(float((fer2013.argmax(1) == data.labels).float().mean()))
    assert measured["fer2013_loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(fer2013, data.labels)))


def test_an_answer_that_is_no_number_is_an_error(tiny_config: TrainConfig) -> None:
    model = build_model(tiny_config.model)
    with torch.no_grad():
        next(model.head_modules()[0].parameters()).fill_(float("nan"))  # of the votes
    with pytest.raises(InferenceError, match=r"ferplus_loss.* nan"):
        validate(model, prepare(made_faces(14)))


def test_without_votes_the_head_that_events_carry_is_validated_on_labels(tiny_config: TrainConfig) -> None:
    data, model = prepare(dataclasses.replace(made_faces(70), votes=None)), build_model(tiny_config.model)
    carried, _ = predict(model, data.crops)
    measured = validate(model, data)
    assert set(measured) == {"accuracy", "fer2013_loss"}
    assert measured["accuracy"] == pytest.approx(float((carried.argmax(1) == data.labels).float().mean()))
    assert measured["fer2013_loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(carried, data.labels)))
    assert score_of(measured, ValidationConfig()) == measured["accuracy"]


def test_a_metric_of_votes_needs_votes() -> None:
    voted, unvoted = made_faces(14), dataclasses.replace(made_faces(14), votes=None)
    for metric in ("ferplus_accuracy", "ferplus_loss"):
        config = ValidationConfig(metric=metric)
        require_measurable(prepare(voted), config)
        with pytest.raises(ConfigError):
            require_measurable(prepare(unvoted), config)
    require_measurable(prepare(unvoted), ValidationConfig())


def test_a_draw_of_the_validation_crops_is_always_the_same(tiny_config: TrainConfig) -> None:
    few = dataclasses.replace(tiny_config, validation=ValidationConfig(max_crops=20))
    once, again = (load_sets(few)[1] for _ in range(2))
    assert len(once) == 20
    assert torch.equal(once.crops, again.crops)
    assert len(set(once.labels.tolist())) > 3
