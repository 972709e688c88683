"""Measures the activation ranges that the INT8 variant of the detector needs, on real pictures.

python -m training.detector_ranges --videos ../shared/data/videos --pictures ../shared/data/faces
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

from emostream.config import DecodeSettings, ModelSettings
from emostream.decode.open_source import open_source
from emostream.domain.frame import Luma
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import EmostreamError
from emostream.vision.detect.centerface.detector import INPUT_NAME
from emostream.vision.detect.centerface.int8 import fused
from emostream.vision.models.store import ModelStore

_EVERY = 15  # frames of a clip hardly differ
_INPUT_SIZE = (416, 256)

# In the first layers single pixels reach values far above all others; leaving them out gives the rest finer steps.
# In later layers the rare large values are the faces.
_NUM_CLIPPED_CONVOLUTIONS = 6
_PERCENTILE = 99.999

_OUTPUT = Path(__file__).parents[2] / "emostream" / "vision" / "detect" / "centerface" / "ranges.json"


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--videos", type=Path, required=True, help="folder of clips")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--out", type=Path, default=_OUTPUT)
    options = parser.parse_args(arguments)
    try:
        pictures = [*_from_videos(options.videos), *_from_pictures(options.pictures)]
        ranges = measure_ranges(ModelStore(ModelSettings()).path_of("centerface"), pictures=pictures)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    options.out.write_text(json.dumps(ranges, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(ranges)} ranges from {len(pictures)} pictures: {options.out}")
    return 0


def measure_ranges(model_path: Path, *, pictures: list[Luma]) -> dict[str, tuple[float, float]]:
    """The range of every tensor of the fused detector over gray pictures (uint8, H×W).

    Smallest and largest value, in the first layers without the rarest ones.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fused.onnx"
        model = fused(model_path.read_bytes())
        onnx.save(model, path)
        extremes = _limits(path, pictures=pictures, method=CalibrationMethod.MinMax)
        usual = _limits(path, pictures=pictures, method=CalibrationMethod.Percentile, percentile=_PERCENTILE)
    return extremes | {name: usual[name] for name in _first_tensors(model) if name in usual}


def _first_tensors(model: Any) -> list[str]:
    """Names of what the first convolutions and the nodes between and after them put out."""
    nodes = list(model.graph.node)
    convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    return [name for node in nodes[: convolutions[_NUM_CLIPPED_CONVOLUTIONS]] for name in node.output]


def _limits(
    path: Path, *, pictures: list[Luma], method: CalibrationMethod, **options: float
) -> dict[str, tuple[float, float]]:
    class Pictures(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            self._inputs = iter([{INPUT_NAME: picture[None]} for picture in pictures])

        def get_next(self) -> dict[str, Luma] | None:
            return next(self._inputs, None)

    calibrator = create_calibrator(
        path,
        augmented_model_path=str(path.with_name("augmented.onnx")),
        calibrate_method=method,
        extra_options={"num_bins": 4096, **options},
    )
    calibrator.collect_data(Pictures())
    limits = calibrator.compute_data()
    return {name: tuple(np.asarray(value).item() for value in data.range_value) for name, data in limits.items()}


def _from_videos(folder: Path) -> Iterator[Luma]:
    for path in sorted(folder.iterdir()):
        spec = StreamSpec(stream_id="clip", url=str(path), kind=StreamKind.FILE, every=_EVERY)
        with open_source(spec, settings=DecodeSettings()) as source:
            for frame in source:
                yield _shrunk(frame.full_luma(frame.luma))


def _from_pictures(folder: Path) -> Iterator[Luma]:
    for path in sorted(folder.glob("*.jpg")):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is not None:
            yield _shrunk(np.asarray(picture, dtype=np.uint8))


def _shrunk(picture: Luma) -> Luma:
    return np.asarray(cv2.resize(picture, _INPUT_SIZE, interpolation=cv2.INTER_AREA), dtype=np.uint8)


if __name__ == "__main__":
    sys.exit(main())
