"""Conformance check for classifier engines, for the tests of plugin authors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from emostream.errors import InferenceError, ManifestError
from emostream.vision.classify.classifier import EmotionClassifier
from emostream.vision.classify.parity import compare, require_parity
from emostream.vision.engines.reference_inputs import REFERENCE_MARGIN, reference_crops

Array = npt.NDArray[Any]

# Engines may add in another order for another batch size; in half precision this changes the third digit.
_ROW_TOLERANCE = 5e-3
_SUM_TOLERANCE = 1e-3


def check_engine(classifier: EmotionClassifier, *, reference: EmotionClassifier | None = None) -> None:
    """Check that a classifier behaves as the service requires.

    Checks that: each row is a distribution over the labels; a crop has the same result in every batch, also in one
    larger than the model allows; crops may be read-only or views, and are not modified; results belong to the caller;
    calls from several threads do not affect each other; crops of another shape or dtype raise `InferenceError`; `close`
    may be called twice, and a closed classifier raises `InferenceError`.

    Args:
        classifier: ready to use; closed afterwards.
        reference: the same model on ONNX Runtime (`OrtClassifier`), for comparison; not closed.

    Raises:
        AssertionError: a check failed.
        ManifestError: its results differ from the reference, or it takes crops of another size.
    """
    if reference is not None:
        _check_sizes(classifier, reference)
    crops = reference_crops(size=classifier.manifest.input_size_pixels)
    answers = _check_answers(classifier, crops[:50])
    _check_batches(classifier, crops)
    _check_input(classifier, crops[:7], answers[:7])
    _check_threads(classifier, crops[:40])
    _check_refusals(classifier)
    if reference is not None:
        parity = compare((reference.classify(crops),), (classifier.classify(crops),), min_margin=REFERENCE_MARGIN)
        require_parity(parity, precision=classifier.manifest.precision, what="the engine")
    classifier.close()
    classifier.close()
    _require(_refuses(classifier, crops[:1]), "a closed engine must raise InferenceError")


def _check_sizes(classifier: EmotionClassifier, reference: EmotionClassifier) -> None:
    size, wanted = classifier.manifest.input_size_pixels, reference.manifest.input_size_pixels
    if size != wanted:
        raise ManifestError(
            f"the engine takes crops of {size} pixels, its reference {wanted}: use the same model for both"
        )


def _check_answers(classifier: EmotionClassifier, crops: Array) -> Array:
    answers = classifier.classify(crops)
    shape = (len(crops), len(classifier.manifest.labels))
    _require(answers.dtype == np.float32 and answers.shape == shape, f"expected float32 {shape}, got {_told(answers)}")
    _require(bool(np.isfinite(answers).all() and (answers >= 0).all()), "probabilities must be finite and not negative")
    largest = float(np.abs(answers.sum(axis=1) - 1).max())
    _require(largest <= _SUM_TOLERANCE, f"each row must sum to 1, one is off by {largest:.4f}")
    _require(classifier.wanted_batch_size >= 1, f"wanted_batch_size is {classifier.wanted_batch_size}")
    none = classifier.classify(crops[:0])
    _require(none.shape == (0, shape[1]) and none.dtype == np.float32, f"no crops must give no rows, got {_told(none)}")
    return answers


def _check_batches(classifier: EmotionClassifier, crops: Array) -> None:
    wanted = min(classifier.manifest.max_batch_size + 3, 4 * len(crops))
    many = np.concatenate([crops] * (wanted // len(crops) + 1))[:wanted]
    together = classifier.classify(many)
    for start, size in ((0, 1), (1, 2), (3, 5), (8, 17)):
        rows = together[start : start + size]
        _require_close(classifier.classify(many[start : start + size]), rows, f"of {size} crops in a batch of {wanted}")


def _check_input(classifier: EmotionClassifier, crops: Array, answers: Array) -> None:
    wide = np.repeat(crops, 2, axis=2)
    before = wide.copy()
    view = wide[:, :, ::2]
    view.flags.writeable = False
    first = classifier.classify(view)
    _require_close(first, answers, "of a read-only view")
    _require(np.array_equal(wide, before), "the crops were modified")
    first[:] = -1
    _require_close(classifier.classify(crops), answers, "after a caller modified an earlier result")


def _check_threads(classifier: EmotionClassifier, crops: Array) -> None:
    parts = [crops[start : start + 1 + start % 7] for start in range(len(crops))]
    expected = [classifier.classify(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(classifier.classify, parts), expected, strict=True):
            _require_close(got, wanted, "from several threads")


def _check_refusals(classifier: EmotionClassifier) -> None:
    size = classifier.manifest.input_size_pixels
    for wrong in (np.zeros((1, size + 1, size), np.uint8), np.zeros((1, size, size), np.float32)):
        _require(_refuses(classifier, wrong), f"crops {_told(wrong)} must raise InferenceError")


def _refuses(classifier: EmotionClassifier, crops: Array) -> bool:
    try:
        classifier.classify(crops)
    except InferenceError:
        return True
    return False


def _require_close(got: Array, expected: Array, when: str) -> None:
    _require(got.shape == expected.shape, f"the answers {when} have shape {got.shape}, expected {expected.shape}")
    largest = float(np.abs(got - expected).max(initial=0.0))
    _require(largest <= _ROW_TOLERANCE, f"the answers {when} differ by {largest:.4f}")


def _told(array: Array) -> str:
    return f"{array.dtype} {array.shape}"


def _require(is_so: bool, message: str) -> None:
    if not is_so:
        raise AssertionError(message)
