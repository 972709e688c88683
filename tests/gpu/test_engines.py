"""Engines on a GPU, or on its double: they answer as ONNX Runtime does, in every batch and from every thread."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from emostream.config import ClassifySettings, DetectSettings
from emostream.errors import InferenceError
from emostream.testing.detector_contract import check_detector
from emostream.testing.engine_contract import check_engine
from emostream.vision.classify.classifier import engine_info
from emostream.vision.classify.load import load_classifier
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.classify.packaged_models import packaged_variant_path
from emostream.vision.classify.parity import compare, require_parity
from emostream.vision.classify.trt_classifier import compile_classifier, load_trt_classifier
from emostream.vision.detect.centerface.detector import OUTPUT_CHANNELS
from emostream.vision.detect.detector import close_detector
from emostream.vision.detect.load import load_trt_detector
from emostream.vision.detect.trt_network import load_trt_network
from emostream.vision.engines.ort_network import OrtNetwork
from emostream.vision.engines.reference_inputs import REFERENCE_MARGIN, reference_crops, reference_frame
from emostream.vision.engines.trt.engine_cache import FOLDER_NAME
from emostream.vision.engines.trt.package import TrtName
from tests.onnx_models import save_classifier
from tests.vision.detect.real_model import centerface_path, real_detector
from tests.vision.detect.tiny_models import tiny_centerface


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: compiling for TensorRT takes its time."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ClassifySettings:
    """A model of a few operators, where the packaged one would show no more."""
    return ClassifySettings(model=save_classifier(tmp_path_factory.mktemp("tiny")), max_batch_size=16)


@pytest.mark.heavy
def test_the_packaged_model_keeps_the_contract_and_answers_as_its_reference(engine: TrtName, cache_dir: Path) -> None:
    with OrtClassifier(packaged_variant_path("fp32")) as reference:
        check_engine(load_trt_classifier(engine, ClassifySettings(), cache_dir=cache_dir), reference=reference)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_model_of_the_user_keeps_the_contract(
    engine: TrtName, cache_dir: Path, tiny: ClassifySettings, precision: str
) -> None:
    settings = ClassifySettings.model_validate(tiny.model_dump() | {"precision": precision})
    assert settings.model is not None
    with OrtClassifier(settings.model) as reference:
        check_engine(load_trt_classifier(engine, settings, cache_dir=cache_dir), reference=reference)


def test_int8_answers_as_its_reference(engine: TrtName, cache_dir: Path) -> None:
    path = packaged_variant_path("int8-tensorrt")
    if not path.is_file():
        pytest.skip("no INT8 variant for TensorRT ships")
    with (
        load_trt_classifier(engine, ClassifySettings(precision="int8"), cache_dir=cache_dir) as classifier,
        OrtClassifier(packaged_variant_path("fp32")) as reference,
    ):
        crops = reference_crops(size=reference.manifest.input_size_pixels)
        parity = compare((reference.classify(crops),), (classifier.classify(crops),), min_margin=REFERENCE_MARGIN)
        require_parity(parity, precision="int8", what="the engine")


def test_compiling_proves_the_engine_and_the_service_finds_it(
    engine: TrtName, cache_dir: Path, tiny: ClassifySettings
) -> None:
    report = compile_classifier(engine, tiny, cache_dir=cache_dir)
    assert report.engine_proof is not None
    assert report.engine_proof["argmax_agreement"] >= 0.995
    before = report.path.stat().st_mtime_ns
    load_classifier(tiny.model_copy(update={"engine": engine}), cache_dir=cache_dir).close()
    assert report.path.stat().st_mtime_ns == before, "it was not built again"


def test_auto_takes_a_gpu(engine: TrtName, cache_dir: Path, tiny: ClassifySettings) -> None:
    classifier = load_classifier(tiny, cache_dir=cache_dir)
    assert engine_info(classifier).device != "cpu"
    assert classifier.manifest.precision == "fp16"
    assert classifier.wanted_batch_size > 1
    classifier.close()


@pytest.mark.parametrize("damage", [b"", b"rubbish" * 1000])
def test_an_engine_that_does_not_load_is_built_again(
    engine: TrtName, tmp_path: Path, tiny: ClassifySettings, damage: bytes
) -> None:
    settings = tiny.model_copy(update={"batches": (1, 4)})
    report = compile_classifier(engine, settings, cache_dir=tmp_path)
    details = report.path.with_suffix(".json")
    report.path.write_bytes(damage)
    # Also when its hash says that it is whole, as after an update of the driver that the key does not know.
    content = json.loads(details.read_text()) | {"sha256": hashlib.sha256(damage).hexdigest()}
    details.write_text(json.dumps(content))
    with load_trt_classifier(engine, settings, cache_dir=tmp_path) as classifier:
        crops = reference_crops(size=classifier.manifest.input_size_pixels)[:5]
        assert classifier.classify(crops).shape == (5, len(classifier.manifest.labels))


def test_many_threads_get_their_own_rows(engine: TrtName, cache_dir: Path, tiny: ClassifySettings) -> None:
    with load_trt_classifier(engine, tiny, cache_dir=cache_dir) as classifier:
        crops = reference_crops(size=classifier.manifest.input_size_pixels)
        expected = classifier.classify(crops)
        failures: list[float] = []

        def work(seed: int) -> None:
            random = np.random.default_rng(seed)
            for _ in range(50):
                start, size = int(random.integers(0, 400)), int(random.integers(1, 100))
                rows = expected[start : start + size]
                difference = np.abs(classifier.classify(crops[start : start + size]) - rows).max()
                if difference > 5e-3:
                    failures.append(float(difference))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


def test_what_was_compiled_for_this_gpu_is_kept(engine: TrtName, cache_dir: Path, tiny: ClassifySettings) -> None:
    compile_classifier(engine, tiny, cache_dir=cache_dir)
    names = [path.suffix for path in (cache_dir / FOLDER_NAME).iterdir()]
    assert (".runtime" if engine == "tensorrt_rtx" else ".cache") in names


def test_a_closed_classifier_refuses(engine: TrtName, cache_dir: Path, tiny: ClassifySettings) -> None:
    classifier = load_trt_classifier(engine, tiny, cache_dir=cache_dir)
    classifier.close()
    with pytest.raises(InferenceError):
        classifier.classify(reference_crops(size=classifier.manifest.input_size_pixels)[:1])


def test_the_detector_keeps_the_contract_and_finds_the_same_faces(engine: TrtName, cache_dir: Path) -> None:
    settings = DetectSettings(engine=engine, min_face_pixels=20)
    detector = load_trt_detector(settings, model_path=centerface_path(), cache_dir=cache_dir)
    try:
        check_detector(detector)
        expected = real_detector(min_face_pixels=20, min_score=0.5).detect(reference_frame())
        found = detector.detect(reference_frame())
        for face in expected:
            assert min(np.abs(np.subtract(face.box_xyxy, other.box_xyxy)).max() for other in found) < 2
    finally:
        close_detector(detector)


@pytest.mark.parametrize("num_pictures", [1, 2, 3, 16, 19])
def test_a_detector_takes_batches(engine: TrtName, cache_dir: Path, num_pictures: int) -> None:
    path = cache_dir / "tiny-centerface.onnx"
    path.write_bytes(tiny_centerface())
    pictures = np.random.default_rng(0).integers(0, 256, (num_pictures, 96, 160), np.uint8)
    names = list(OUTPUT_CHANNELS)
    expected = OrtNetwork(path, path=path, kind="a detector").run(pictures, output_names=names)
    network = load_trt_network(engine, path, precision="fp32", cache_dir=cache_dir)
    try:
        for before, after in zip(expected, network.run(pictures, output_names=names), strict=True):
            np.testing.assert_allclose(after, before, atol=1e-3)
    finally:
        network.close()
