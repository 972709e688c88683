"""The prepared detector computes what the published one computes; parity is shown on a small network of its form."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from emostream.errors import ManifestError
from emostream.vision.detect.centerface.detector import INPUT_NAME, OUTPUT_CHANNELS
from emostream.vision.detect.centerface.model import prepare_centerface

PUBLISHED_OUTPUTS = dict(zip(("537", "538", "539", "540"), OUTPUT_CHANNELS.values(), strict=True))


def published_form(*, in_channels: int = 3, outputs: dict[str, int] = PUBLISHED_OUTPUTS) -> onnx.ModelProto:
    """A small network as an old exporter writes it: opset 9, fixed shape, weights listed as inputs."""
    rng = np.random.default_rng(7)
    weights = {"w0": rng.normal(size=(4, in_channels, 3, 3)), "b0": rng.normal(size=4)}
    first = helper.make_node(
        "Conv", ["input.1", "w0", "b0"], ["x"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[4, 4]
    )
    nodes = [first]
    for name, channels in outputs.items():
        weights[f"w{name}"] = rng.normal(size=(channels, 4, 1, 1), scale=0.01)
        weights[f"b{name}"] = rng.normal(size=channels)
        output = "536" if name == "537" else name
        nodes.append(helper.make_node("Conv", ["x", f"w{name}", f"b{name}"], [output], kernel_shape=[1, 1]))
    if "537" in outputs:
        nodes.append(helper.make_node("Sigmoid", ["536"], ["537"]))
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    inputs = [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [10, in_channels, 32, 32])]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(v.shape)) for name, v in weights.items()]
    graph = helper.make_graph(
        nodes,
        "published",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [10, c, 8, 8]) for name, c in outputs.items()],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)


def run(model_bytes: bytes, name: str, pictures: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # an old file's weights listed as inputs are worth a warning, not in a test
    session = onnxruntime.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {name: pictures}))


def test_same_outputs_as_published_on_gray_pictures() -> None:
    published = published_form().SerializeToString()
    pictures = np.random.default_rng(1).integers(0, 256, (10, 32, 32), dtype=np.uint8)
    expected = run(published, "input.1", np.repeat(pictures[:, None], 3, axis=1).astype(np.float32))
    actual = run(prepare_centerface(published), INPUT_NAME, pictures)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)  # float32 sums in another order, values of some hundred


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 96), (1, 192, 320)], ids=str)
def test_takes_any_batch_and_size(shape: tuple[int, int, int]) -> None:
    outputs = run(prepare_centerface(published_form().SerializeToString()), INPUT_NAME, np.zeros(shape, np.uint8))
    n, height, width = shape
    assert [o.shape for o in outputs] == [(n, c, height // 4, width // 4) for c in OUTPUT_CHANNELS.values()]


def test_result_is_reproducible_and_self_describing() -> None:
    published = published_form().SerializeToString()
    prepared = prepare_centerface(published)
    assert prepared == prepare_centerface(published)
    model = onnx.load_model_from_string(prepared)
    assert [value.name for value in model.graph.input] == [INPUT_NAME]
    assert [value.name for value in model.graph.output] == list(OUTPUT_CHANNELS)
    assert model.opset_import[0].version == 13


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"not a model",
        published_form(in_channels=1).SerializeToString(),
        published_form(outputs={"probabilities": 7}).SerializeToString(),
        prepare_centerface(published_form().SerializeToString()),
    ],
    ids=["empty", "text", "gray", "other outputs", "already prepared"],
)
def test_foreign_file_is_refused(foreign: bytes) -> None:
    with pytest.raises(ManifestError):
        prepare_centerface(foreign)
