"""Another scaling of finished files: they answer the same logits, scaled so, in every variant."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.special import softmax

from emostream.errors import ManifestError
from tests.onnx_models import classifier_model
from tests.training.tiny_nets import CROPS, outputs_of, tiny_net
from training.convert.onnx_graph import ServedModel, onnx_from_model
from training.convert.scaled_graph import with_scalings
from training.convert.variants import VARIANTS, VariantName, write_variant
from training.measure.inference import HeadOutputs
from training.measure.scalings import HeadScalings
from training.measure.temperature import Scaling

SHIFTED = Scaling(0.7, (0.3, -0.1, 0.2, 0.0, -0.4, 0.1, -0.1))
PLAIN = Scaling(1.5)
PAIRS = [(SHIFTED, PLAIN), (PLAIN, SHIFTED)]


@cache
def graph_with(ferplus: Scaling, fer2013: Scaling) -> onnx.ModelProto:
    return onnx_from_model(ServedModel(tiny_net(), HeadScalings(ferplus, fer2013)), input_size_pixels=64)


def assert_same(actual: HeadOutputs, expected: HeadOutputs) -> None:
    np.testing.assert_allclose(actual.ferplus, expected.ferplus, atol=1e-6)
    np.testing.assert_allclose(actual.fer2013, expected.fer2013, atol=1e-6)


@pytest.mark.parametrize("before", PAIRS)
@pytest.mark.parametrize("after", PAIRS)
def test_what_is_put_in_is_as_if_it_had_been_exported(
    tmp_path: Path, before: tuple[Scaling, Scaling], after: tuple[Scaling, Scaling]
) -> None:
    rescaled = with_scalings(graph_with(*before), HeadScalings(*after))
    onnx.checker.check_model(rescaled, full_check=True)
    exported = graph_with(*after)
    assert_same(outputs_of(rescaled, tmp_path), outputs_of(exported, tmp_path))
    assert len(rescaled.graph.node) == len(exported.graph.node), "no scaling stays behind"
    again = with_scalings(rescaled, HeadScalings(*before))
    assert_same(outputs_of(again, tmp_path), outputs_of(graph_with(*before), tmp_path))


@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_variant_takes_another_scaling(tmp_path: Path, name: VariantName) -> None:
    variant = write_variant(graph_with(SHIFTED, PLAIN), VARIANTS[name], np.repeat(CROPS, 3, axis=0)).graph
    before = variant.SerializeToString()
    plain = outputs_of(with_scalings(variant, HeadScalings()), tmp_path)
    rescaled = outputs_of(with_scalings(variant, HeadScalings(PLAIN, SHIFTED)), tmp_path)
    logits = HeadOutputs(np.log(plain.ferplus), np.log(plain.fer2013))
    expected = HeadOutputs(
        softmax(PLAIN.apply(logits.ferplus), axis=1).astype(np.float32),
        softmax(SHIFTED.apply(logits.fer2013), axis=1).astype(np.float32),
    )
    assert_same(rescaled, expected)
    assert_same(
        outputs_of(with_scalings(variant, HeadScalings(SHIFTED, PLAIN)), tmp_path), outputs_of(variant, tmp_path)
    )
    assert variant.SerializeToString() == before, "the model that was given is not changed"


def test_a_model_of_another_kind_is_refused() -> None:
    model = classifier_model()
    del model.graph.node[-1]
    with pytest.raises(ManifestError):
        with_scalings(model, HeadScalings())
