"""Compares each packaged variant of the emotion model with the FP32 variant, on the reference crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emostream.errors import ModelError
from emostream.vision.classify.ort_classifier import OrtClassifier, Probabilities
from emostream.vision.classify.packaged_models import PACKAGED_VARIANTS, packaged_variant_path
from emostream.vision.classify.parity import compare, require_parity
from emostream.vision.engines.reference_inputs import REFERENCE_MARGIN, reference_crops
from emostream.vision.engines.verify import VariantCheck, processor_milliseconds

_BATCH_SIZE = 8


def packaged_variants() -> list[Path]:
    """Paths of all variants that ship; the first is the reference (FP32)."""
    others = (variant for variant in PACKAGED_VARIANTS if variant != "fp32")
    return [packaged_variant_path("fp32"), *(path for path in map(packaged_variant_path, others) if path.is_file())]


def check_variants(paths: Sequence[Path]) -> list[VariantCheck]:
    """Compare each variant with the first one, whose speed is measured as well.

    Raises:
        ModelError: the first variant cannot be used, so there is no reference.
    """
    with OrtClassifier(paths[0]) as reference:
        crops = reference_crops(size=reference.manifest.input_size_pixels)
        expected = list(reference.classify_all(crops).values())
        version = reference.manifest.version
    return [_check(path, expected, version=version) for path in paths]


def _check(path: Path, expected: Sequence[Probabilities], *, version: str) -> VariantCheck:
    size = path.stat().st_size
    try:
        with OrtClassifier(path) as classifier:
            manifest = classifier.manifest
            variant = manifest.precision if manifest.layout == "cpu" else f"{manifest.precision} for {manifest.layout}"
            crops = reference_crops(size=manifest.input_size_pixels)
            parity = compare(expected, list(classifier.classify_all(crops).values()), min_margin=REFERENCE_MARGIN)
            milliseconds = processor_milliseconds(lambda: classifier.classify_all(crops[:_BATCH_SIZE])) / _BATCH_SIZE
    except ModelError as exc:
        return VariantCheck("emotions", "?", path.name, size, problem=str(exc))
    problem = "" if manifest.version == version else f"version {manifest.version}, but the reference is {version}"
    try:
        require_parity(parity, precision=manifest.precision, what=f"the {variant} variant")
    except ModelError as exc:
        problem = str(exc)
    return VariantCheck(
        model="emotions",
        variant=variant,
        file=path.name,
        size_bytes=size,
        agreement=parity.argmax_agreement,
        max_difference=parity.max_difference,
        milliseconds=milliseconds,
        problem=problem,
    )
