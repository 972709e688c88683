"""A tiny net with statistics of its own, and what its files answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from emostream.vision.classify.preprocess import batch_from_pictures
from tests.training.made import made_faces
from training.config import ModelConfig
from training.convert.onnx_graph import INPUT_NAME, OUTPUT_NAMES, ServedModel, onnx_from_model
from training.measure.inference import HeadOutputs, open_session, run_session
from training.measure.scalings import HeadScalings
from training.nets.build import build_model

CROPS = batch_from_pictures(made_faces(21).pictures)


def tiny_net(config: ModelConfig | None = None) -> nn.Module:
    """A net whose batch statistics are not those of a fresh one; small unless the settings say otherwise."""
    torch.manual_seed(0)
    model = build_model(config or ModelConfig(widths=(8, 16), depths=(1, 1)))
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(torch.from_numpy(CROPS))
    return model.eval()


def tiny_graph() -> onnx.ModelProto:
    """The FP32 graph of `tiny_net`."""
    return onnx_from_model(ServedModel(tiny_net(), HeadScalings()), input_size_pixels=64)


def outputs_of(model: onnx.ModelProto, folder: Path, crops: npt.NDArray[np.uint8] = CROPS) -> HeadOutputs:
    """What ONNX Runtime computes."""
    path = folder / "outputs-of.onnx"
    onnx.save(model, path)
    return run_session(open_session(path, num_threads=1), crops, output_names=OUTPUT_NAMES, input_name=INPUT_NAME)


def expected_of(served: ServedModel) -> HeadOutputs:
    """What torch computes."""
    with torch.no_grad():
        ferplus, fer2013 = served(torch.from_numpy(CROPS))
    return HeadOutputs(ferplus.numpy(), fer2013.numpy())
