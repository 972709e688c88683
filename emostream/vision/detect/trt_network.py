"""CenterFace on TensorRT and TensorRT-RTX, verified on the reference frame."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from emostream.errors import InferenceError, ManifestError
from emostream.vision.detect.centerface.detector import INPUT_NAME, OUTPUT_CHANNELS, STRIDE_PIXELS
from emostream.vision.detect.detector import DetectorNetwork
from emostream.vision.detect.parity import compare_maps, require_map_parity
from emostream.vision.engines.group import GpuEngine
from emostream.vision.engines.half_precision import half_from_full
from emostream.vision.engines.ort_network import OrtNetwork
from emostream.vision.engines.reference_inputs import reference_frame
from emostream.vision.engines.trt.compile import (
    CompileReport,
    EngineRecipe,
    Progress,
    Proof,
    compile_engine,
    open_engines,
)
from emostream.vision.engines.trt.engine import TrtEngine
from emostream.vision.engines.trt.package import TrtName
from emostream.vision.engines.trt.profile import ShapeProfile, filled_up, plan_batches

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "fp16"]
MAX_SIDE_PIXELS = 1280
"""Longest side that engines take: a 5:1 frame with the detector's largest number of pixels fits."""

# Frames have many sizes, so one profile covers them all, tuned for a small 16:9 frame. Batches have a profile of their
# own: memory is taken for the largest shape of a profile, and 16 frames of the longest sides would need gigabytes.
_SINGLE = ShapeProfile((1, STRIDE_PIXELS, STRIDE_PIXELS), (1, 288, 480), (1, MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
_BATCH = ShapeProfile((2, STRIDE_PIXELS, STRIDE_PIXELS), (8, 288, 480), (16, 672, 672))
_BATCH_SIZES = (1, 2, 4, 8, 16)
"""Sizes that batches are cut into and filled up to; each needs memory of its own."""


class TrtNetwork:
    """Computes CenterFace's maps on the GPU. Thread-safe.

    Args:
        engine: closed with the network.
    """

    def __init__(self, engine: GpuEngine) -> None:
        self._engine = engine

    def check(self, *, input_name: str | None, output_names: Sequence[str]) -> None:
        """See `DetectorNetwork.check`; the ONNX file was checked before it was compiled."""
        if missing := [name for name in output_names if name not in self._engine.output_names]:
            raise ManifestError(f"the engine has no output {', '.join(missing)}")

    def run(self, pictures: npt.NDArray[Any], *, output_names: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """See `DetectorNetwork.run`; batches are cut into those that the engine takes."""
        size = pictures.shape[1:]
        if not _SINGLE.takes((1, *size)):
            raise InferenceError(f"expected an input of shape {_SINGLE}, got {pictures.shape}")
        sizes = _BATCH_SIZES if _BATCH.takes((2, *size)) else _BATCH_SIZES[:1]
        answers, start = [], 0
        for num in plan_batches(len(pictures), sizes):
            rows = min(num, len(pictures) - start)
            outputs = self._engine.run(filled_up(pictures[start : start + rows], num))
            answers.append([outputs[name][:rows] for name in output_names])
            start += rows
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    def close(self) -> None:
        """Release the engine. Safe to call twice."""
        self._engine.close()


def compile_detector(
    name: TrtName, model_path: Path, *, precision: Precision, cache_dir: Path, progress: Progress = logger.info
) -> CompileReport:
    """Compile the prepared CenterFace file and verify the engine, as far as this machine can.

    Raises:
        EngineUnavailableError: the package is not installed, or needs a GPU that is missing.
        ManifestError: the file is damaged, or the engine's results differ from it.
    """
    recipe = _recipe(model_path, precision)
    source_proof = None
    if precision != "fp32":
        converted = OrtNetwork(recipe.onnx_model, path=model_path, kind="the prepared CenterFace detector")
        source_proof = _prove(model_path, precision, f"the {precision} variant of {model_path}", converted)
    return compile_engine(
        name,
        recipe,
        cache_dir=cache_dir,
        prove=partial(_prove_engine, model_path, precision),
        source_proof=source_proof,
        progress=progress,
    )


def load_trt_network(name: TrtName, model_path: Path, *, precision: Precision, cache_dir: Path) -> TrtNetwork:
    """Open the prepared CenterFace file on the GPU; compile it first where it is not in the cache.

    Raises:
        EngineUnavailableError: the package or a GPU is missing.
        ManifestError: the file is damaged, or the engine's results differ from it.
    """
    recipe = _recipe(model_path, precision)
    prove = partial(_prove_engine, model_path, precision)
    return TrtNetwork(open_engines(name, recipe, cache_dir=cache_dir, prove=prove))


def with_cast_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that casts the uint8 picture before adding the channel axis: TensorRT accepts uint8 only in this order."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = list(result.graph.node)
    picture = result.graph.input[0].name
    by_input = {(node.op_type, node.input[0]): node for node in nodes if node.input}
    first = by_input.get(("Unsqueeze", picture))
    second = by_input.get(("Cast", first.output[0])) if first is not None else None
    if first is None or second is None:
        return result
    between, end = first.output[0], second.output[0]
    cast = onnx.helper.make_node("Cast", [picture], [between], to=onnx.TensorProto.FLOAT)
    unsqueeze = onnx.NodeProto.FromString(first.SerializeToString())
    unsqueeze.input[0], unsqueeze.output[0] = between, end
    nodes[nodes.index(second)] = unsqueeze
    nodes[nodes.index(first)] = cast
    del result.graph.node[:], result.graph.value_info[:]  # the type of the tensor between the two has changed
    result.graph.node.extend(nodes)
    return result


def _recipe(model_path: Path, precision: Precision) -> EngineRecipe:
    try:
        model = with_cast_first(onnx.load(model_path))
    except Exception as exc:  # protobuf's exception classes
        raise ManifestError(f"model file {model_path} is not an ONNX model; pull the detector again") from exc
    if precision == "fp16":
        model = half_from_full(model)
    content = bytes(model.SerializeToString(deterministic=True))
    return EngineRecipe("centerface", content, precision, (_SINGLE, _BATCH))


def _prove_engine(model_path: Path, precision: Precision, engine: TrtEngine) -> Proof:
    return _prove(model_path, precision, f"the {precision} engine of {model_path}", TrtNetwork(engine))


def _prove(model_path: Path, precision: Precision, what: str, network: DetectorNetwork) -> Proof:
    """Compare with ONNX Runtime on the reference frame. Raises `ManifestError` when the difference is too large."""
    frame, outputs = reference_frame()[None], list(OUTPUT_CHANNELS)
    reference = OrtNetwork(model_path, path=model_path, kind="the prepared CenterFace detector")
    reference.check(input_name=INPUT_NAME, output_names=outputs)
    parity = compare_maps(reference.run(frame, output_names=outputs), network.run(frame, output_names=outputs))
    require_map_parity(parity, precision=precision, what=what)
    return asdict(parity)
