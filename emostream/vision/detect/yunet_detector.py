"""YuNet (Wu et al. 2023) in ONNX Runtime, with a model file that the user supplies (OpenCV Zoo, MIT)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.errors import InferenceError
from emostream.vision.detect.detector import Candidates
from emostream.vision.detect.letterbox import Letterbox, choose_letterbox
from emostream.vision.engines.ort_network import OrtNetwork
from emostream.vision.geometry.boxes import non_maximum_suppression

STRIDES_PIXELS = (8, 16, 32)
OUTPUT_NAMES = tuple(f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in STRIDES_PIXELS)
"""Outputs of the network: float32, 1×cells×(1, 1, 4, 10), cells row by row."""

_MAX_CANDIDATES = 1000
_MAX_LOG_SIZE = 8.0


def decode_yunet(
    outputs: Mapping[str, npt.NDArray[np.float32]],
    *,
    input_width: int,
    min_score: float,
    max_iou: float,
    max_faces: int,
) -> Candidates:
    """Decode the network's outputs for one picture to faces, best first.

    Args:
        outputs: the twelve outputs for one picture by name, each cells×channels.
        input_width: pixels; gives the number of columns of each grid.
        min_score: faces with a lower score are dropped.
        max_iou: of two faces that overlap more than this, the one with the lower score is dropped.
        max_faces: largest number of faces returned.
    """
    boxes, scores, landmarks = (
        np.concatenate(parts)
        for parts in zip(
            *(
                _decode_grid(outputs, stride, columns=input_width // stride, min_score=min_score)
                for stride in STRIDES_PIXELS
            ),
            strict=True,
        )
    )
    best = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    kept = best[non_maximum_suppression(boxes[best], scores[best], max_iou=max_iou, max_boxes=max_faces)]
    return Candidates(boxes=boxes[kept], scores=scores[kept], landmarks=landmarks[kept])


_Arrays = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating], npt.NDArray[np.floating]]


def _decode_grid(
    outputs: Mapping[str, npt.NDArray[np.float32]], stride: int, *, columns: int, min_score: float
) -> _Arrays:
    class_scores = np.clip(outputs[f"cls_{stride}"][:, 0], 0, 1)
    objectness = np.clip(outputs[f"obj_{stride}"][:, 0], 0, 1)
    all_scores = np.sqrt(class_scores * objectness)
    (cells,) = np.nonzero(all_scores > min_score)
    corners = np.stack([cells % columns, cells // columns], axis=1)

    shifts, log_sizes = np.split(outputs[f"bbox_{stride}"][cells], 2, axis=1)
    centres = (corners + shifts) * stride
    half_sizes = np.exp(np.minimum(log_sizes, _MAX_LOG_SIZE)) * stride / 2
    boxes = np.concatenate([centres - half_sizes, centres + half_sizes], axis=1)
    landmarks = (outputs[f"kps_{stride}"][cells].reshape(-1, 5, 2) + corners[:, None]) * stride
    return boxes, all_scores[cells], landmarks


_SMALLEST_FOUND_PIXELS = 12.0  # its authors state 10×10 pixels; two more as a reserve
_INPUT_STRIDE_PIXELS = max(STRIDES_PIXELS)
_MAX_INPUT_PIXELS = 1280 * 736  # several times cheaper per pixel than CenterFace
_KIND = "a YuNet detector (face_detection_yunet_*.onnx of OpenCV Zoo)"


class YuNetDetector:
    """Finds faces with five landmarks by YuNet on luma. Thread-safe. Arguments as for `CenterFaceDetector`.

    Raises:
        ManifestError: the file is damaged or not a YuNet model.
    """

    name = "yunet"

    def __init__(
        self,
        model_path: Path,
        *,
        min_face_pixels: float,
        min_score: float,
        max_iou: float,
        max_faces: int,
        max_input_pixels: int = _MAX_INPUT_PIXELS,
        num_threads: int = 1,
    ) -> None:
        self._network = OrtNetwork(model_path, path=model_path, kind=_KIND, num_threads=num_threads)
        self._network.check(input_name=None, output_names=OUTPUT_NAMES)
        shape = self._network.input_shape
        if len(shape) != 4 or shape[1] != 3:
            raise self._network.misfit(f"its input has shape {shape}, not 1×3×H×W")
        self._fixed_size = _fixed_size(shape)
        if self._fixed_size is not None and (free := _free_network(model_path, num_threads=num_threads)) is not None:
            self._network, self._fixed_size = free, None
        self._min_face_pixels = min_face_pixels
        self._min_score = min_score
        self._max_iou = max_iou
        self._max_faces = max_faces
        self._max_input_pixels = max_input_pixels

    def detect(self, luma: Luma) -> list[Face]:
        """Faces in a gray picture, best score first; see `FaceDetector.detect`."""
        if luma.size == 0:
            return []
        letterbox = self._letterbox(luma.shape[1], luma.shape[0])
        gray = letterbox.shrink(luma).astype(np.float32)
        pictures = np.ascontiguousarray(np.broadcast_to(gray, (1, 3, *gray.shape)))
        outputs = self._network.run(pictures, output_names=OUTPUT_NAMES)
        candidates = decode_yunet(
            {name: output[0] for name, output in zip(OUTPUT_NAMES, outputs, strict=True)},
            input_width=letterbox.input_width,
            min_score=self._min_score,
            max_iou=self._max_iou,
            max_faces=self._max_faces,
        )
        return candidates.to_faces(letterbox)

    def smallest_face_pixels(self, width: int, height: int) -> float:
        """See `SizedDetector`."""
        return _SMALLEST_FOUND_PIXELS / self._letterbox(width, height).scale_y

    def _letterbox(self, width: int, height: int) -> Letterbox:
        if self._fixed_size is not None:
            return Letterbox.fit(
                frame_width=width,
                frame_height=height,
                input_width=self._fixed_size[0],
                input_height=self._fixed_size[1],
                max_scale=1.0,
            )
        return choose_letterbox(
            frame_width=width,
            frame_height=height,
            min_face_pixels=self._min_face_pixels,
            smallest_found_pixels=_SMALLEST_FOUND_PIXELS,
            stride=_INPUT_STRIDE_PIXELS,
            max_input_pixels=self._max_input_pixels,
        )


def _fixed_size(shape: list[int | str | None]) -> tuple[int, int] | None:
    height, width = shape[2:]
    return (width, height) if isinstance(height, int) and isinstance(width, int) else None


def _free_network(model_path: Path, *, num_threads: int) -> OrtNetwork | None:
    """The same network for inputs of any size, or None where the graph depends on its declared size.

    The published files declare 640×640, most of which would be padding; a test run shows whether smaller inputs work.
    """
    import onnx  # 13 MB that are needed only with this detector
    from google.protobuf.message import DecodeError as ProtobufDecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(model_path)
    except (ProtobufDecodeError, OSError):
        return None
    height, width = model.graph.input[0].type.tensor_type.shape.dim[2:]
    height.dim_param, width.dim_param = "height", "width"
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"{output.name}_cells"
    del model.graph.value_info[:]
    return _proven(model.SerializeToString(), model_path=model_path, num_threads=num_threads)


def _proven(model_bytes: bytes, *, model_path: Path, num_threads: int) -> OrtNetwork | None:
    network = OrtNetwork(model_bytes, path=model_path, kind=_KIND, num_threads=num_threads)
    height, width = 2 * _INPUT_STRIDE_PIXELS, 3 * _INPUT_STRIDE_PIXELS
    try:
        outputs = network.run(np.zeros((1, 3, height, width), np.float32), output_names=OUTPUT_NAMES)
    except InferenceError:
        return None
    num_cells = [(height // stride) * (width // stride) for _ in range(4) for stride in STRIDES_PIXELS]
    return network if [output.shape[1] for output in outputs] == num_cells else None
