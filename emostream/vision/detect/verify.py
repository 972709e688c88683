"""Compares each variant of CenterFace with the FP32 variant, on the reference frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emostream.domain.face import Face
from emostream.errors import ModelError
from emostream.vision.detect.centerface.detector import OUTPUT_CHANNELS, CenterFaceDetector
from emostream.vision.detect.parity import Maps, compare_maps, require_map_parity
from emostream.vision.engines.ort_network import OrtNetwork
from emostream.vision.engines.reference_inputs import reference_frame
from emostream.vision.engines.verify import VariantCheck, processor_milliseconds
from emostream.vision.geometry.boxes import iou_matrix

_MIN_SAME_FACE_IOU = 0.8
# Only faces that the reference is sure of: a weak one may be found by either.
_MIN_SCORE = 0.5


def check_detector_variants(paths: Mapping[str, Path]) -> list[VariantCheck]:
    """Compare each variant (precision → prepared file) with the FP32 one, whose speed is measured as well.

    Raises:
        ModelError: the FP32 variant cannot be used, so there is no reference.
    """
    network = _network(paths["fp32"])
    maps, faces = _maps(network), _faces(network)
    return [_check(precision, path, maps, faces) for precision, path in paths.items()]


def _check(precision: str, path: Path, maps: Maps, faces: Sequence[Face]) -> VariantCheck:
    row = VariantCheck("centerface", precision, path.name, path.stat().st_size)
    try:
        network = _network(path)
        parity = compare_maps(maps, _maps(network))
        row = replace(
            row,
            agreement=_share_found(faces, _faces(network)),
            max_difference=parity.max_heatmap_difference,
            milliseconds=processor_milliseconds(lambda: _maps(network)),
        )
        require_map_parity(parity, precision=precision, what=f"the {precision} variant")
    except ModelError as exc:
        return replace(row, problem=str(exc))
    if row.agreement != 1:
        return replace(
            row, problem=f"the {precision} variant does not find all faces that FP32 finds in the reference frame"
        )
    return row


def _network(path: Path) -> OrtNetwork:
    return OrtNetwork(path, path=path, kind="the prepared CenterFace detector")


def _maps(network: OrtNetwork) -> Maps:
    return network.run(reference_frame()[None], output_names=list(OUTPUT_CHANNELS))


def _faces(network: OrtNetwork) -> list[Face]:
    detector = CenterFaceDetector(network, min_face_pixels=20, min_score=_MIN_SCORE, max_iou=0.3, max_faces=20)
    return detector.detect(reference_frame())


def _share_found(expected: Sequence[Face], found: Sequence[Face]) -> float:
    if not expected:
        return 1.0
    boxes, others = (np.array([face.box_xyxy for face in faces]).reshape(-1, 4) for faces in (expected, found))
    best = iou_matrix(boxes, others).max(axis=1, initial=0.0)
    return float((best >= _MIN_SAME_FACE_IOU).mean())
