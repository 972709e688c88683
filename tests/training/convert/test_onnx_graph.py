"""The ONNX graph computes what the net computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny_nets import CROPS, expected_of, outputs_of, tiny_graph, tiny_net
from training.convert.onnx_graph import OPSET, ServedModel, onnx_from_model
from training.convert.parity import compare_heads
from training.measure.scalings import HeadScalings
from training.measure.temperature import Scaling

pytestmark = pytest.mark.heavy


def test_the_graph_computes_what_the_net_computes(tmp_path: Path) -> None:
    served = ServedModel(tiny_net(), HeadScalings(Scaling(0.5, (0.3, -0.1, 0.2, 0.0, -0.4, 0.1, -0.1)), Scaling(2.0)))
    graph = onnx_from_model(served, input_size_pixels=64)
    parity = compare_heads(expected_of(served), outputs_of(graph, tmp_path))
    assert parity.argmax_agreement == 1
    assert parity.max_difference < 1e-5
    assert [entry.version for entry in graph.opset_import] == [OPSET]
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}


@pytest.mark.parametrize("num", [1, 3, 64])
def test_any_batch_size_gives_distributions(tmp_path: Path, num: int) -> None:
    outputs = outputs_of(tiny_graph(), tmp_path, np.resize(CROPS, (num, 64, 64)))
    for probabilities in (outputs.ferplus, outputs.fer2013):
        assert probabilities.shape == (num, 7)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
