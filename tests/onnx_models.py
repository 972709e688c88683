"""Tiny ONNX models, built in memory, with answers that a test can know."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from emostream.domain.emotion import EMOTIONS
from emostream.domain.model_manifest import ModelManifest, save_manifest

CROP_SIZE_PIXELS = 8
OUTPUTS = ("probabilities", "fer2013_probabilities")


def classifier_model(
    *,
    labels: Sequence[str] = EMOTIONS,
    size: int = CROP_SIZE_PIXELS,
    outputs: Sequence[str] = OUTPUTS,
    input_name: str = "crops",
    batch: str | int = "batch",
    input_type: int = TensorProto.UINT8,
    num_columns: int | None = None,
    with_softmax: bool = True,
    scale: float = 1 / 255,
    metadata_labels: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """A classifier: the mean brightness b in 0…1 of a crop gives logits b·(0, 1, 2, …), the second output the reverse.

    So a black crop has a uniform distribution, and a brighter one prefers the last label (the first, in the second
    output). The other arguments make it wrong in one way each.
    """
    num_columns = len(labels) if num_columns is None else num_columns
    nodes = [
        helper.make_node("Cast", [input_name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["brightness"]),
        helper.make_node("Unsqueeze", ["brightness", "last"], ["column"]),
    ]
    weights: list[Any] = [
        numpy_helper.from_array(np.array(scale, dtype=np.float32), "scale"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "last"),
    ]
    for position, name in enumerate(outputs):
        steps = np.arange(num_columns, dtype=np.float32)[None, :]
        weights.append(numpy_helper.from_array(steps[:, ::-1].copy() if position else steps, f"weights_{position}"))
        logits = f"logits_{position}" if with_softmax else name
        nodes.append(helper.make_node("MatMul", ["column", f"weights_{position}"], [logits]))
        if with_softmax:
            nodes.append(helper.make_node("Softmax", [logits], [name], axis=1))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, input_type, [batch, size, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, num_columns]) for name in outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if metadata_labels is not None:
        helper.set_model_props(model, {"labels": json.dumps(list(metadata_labels))})
    onnx.checker.check_model(model)
    return model


def expected_probabilities(crops: np.ndarray[Any, Any], *, num_labels: int = len(EMOTIONS)) -> np.ndarray[Any, Any]:
    """What `classifier_model` computes, in NumPy."""
    logits = (crops.mean(axis=(1, 2)) / 255)[:, None] * np.arange(num_labels)[None, :]
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def manifest_for(content: bytes, **changes: Any) -> ModelManifest:
    """The manifest of a tiny classifier."""
    values: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "file": "tiny.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "labels": EMOTIONS,
        "input_size_pixels": CROP_SIZE_PIXELS,
        "outputs": OUTPUTS,
        "max_batch_size": 16,
        "architecture": "brightness",
        "training_data": "none",
        "licence": "Apache-2.0",
    }
    return ModelManifest(**{**values, **changes})


def save_classifier(folder: Path, *, model: onnx.ModelProto | None = None, **changes: Any) -> Path:
    """Write a model (a right one unless given) with a manifest (a right one but for the changes); return its path."""
    content = (model or classifier_model()).SerializeToString()
    path = folder / "tiny.onnx"
    path.write_bytes(content)
    save_manifest(manifest_for(content, **changes), model_path=path)
    return path
