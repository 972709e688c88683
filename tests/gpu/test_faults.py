"""What a GPU can do to a service: no memory, no graph, a broken card, a package without libraries; several GPUs.

Only the double has these faults. What the service does about them is the same on a card.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emostream.config import ClassifySettings, DetectSettings, ModelSettings, Settings
from emostream.errors import EngineUnavailableError, InferenceError, ManifestError, ModelError
from emostream.pipeline.build import load_chosen_detector
from emostream.vision.classify.classifier import engine_info, parallel_batches
from emostream.vision.classify.engines import choose_engine, fastest_known
from emostream.vision.classify.load import load_classifier
from emostream.vision.classify.trt_classifier import load_trt_classifier
from emostream.vision.detect.detector import close_detector
from emostream.vision.engines.fastest import ENGINE_CHOICES_FILE, remember_choice, remembered_choices
from emostream.vision.engines.trt.cuda import CudaStream, find_gpus
from emostream.vision.engines.trt.engine import NUM_LANES
from tests.cuda_double import L40, gpu_machine
from tests.cuda_double.machine import Device, Machine
from tests.onnx_models import CROP_SIZE_PIXELS, expected_probabilities, save_classifier
from tests.vision.detect.tiny_models import tiny_centerface


@pytest.fixture
def machine() -> Iterator[Machine]:
    with gpu_machine() as found:
        yield found


@pytest.fixture
def settings(tmp_path: Path) -> ClassifySettings:
    return ClassifySettings(model=save_classifier(tmp_path), max_batch_size=16, batches=(1, 8))


def crops(num: int, seed: int = 0) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    shape = (num, CROP_SIZE_PIXELS, CROP_SIZE_PIXELS)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("kind", ["raises", "none"])
@pytest.mark.parametrize("which", ["builder", "runtime", "plan", "context", "wrong", "memory"])
def test_whatever_fails_at_load_the_service_starts_on_the_cpu_and_says_so(
    machine: Machine,
    settings: ClassifySettings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    which: str,
    kind: str,
) -> None:
    if which == "memory":
        machine.faults.allocations_left = 1
    else:
        setattr(machine.faults, which, kind if which in ("builder", "runtime") else True)
    with caplog.at_level(logging.WARNING):
        classifier = load_classifier(settings, cache_dir=tmp_path)
    assert engine_info(classifier).device == "cpu"
    assert any(record.levelno == logging.WARNING and record.args[0] == "tensorrt" for record in caplog.records)  # type: ignore[index]
    np.testing.assert_allclose(classifier.classify(crops(3)), expected_probabilities(crops(3)), atol=1e-4)
    classifier.close()
    with pytest.raises(ModelError):
        load_classifier(settings.model_copy(update={"gpu_required": True}), cache_dir=tmp_path)
    assert machine.leaks() == []


def test_a_detector_takes_the_gpu_where_it_can_and_the_cpu_otherwise(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "centerface.onnx"
    path.write_bytes(tiny_centerface())
    detect = DetectSettings(path=path, engine="auto")
    settings = Settings(detect=detect, models=ModelSettings(cache_dir=tmp_path))
    luma = np.full((64, 96), 90, np.uint8)
    before = machine.used_bytes(0)
    detector = load_chosen_detector(settings)
    assert machine.used_bytes(0) > before
    found = detector.detect(luma)
    close_detector(detector)
    machine.faults.builder = "none"
    other = settings.model_copy(update={"models": ModelSettings(cache_dir=tmp_path / "other")})
    with caplog.at_level(logging.WARNING):
        detector = load_chosen_detector(other)
    assert [record.args[0] for record in caplog.records if record.args] == ["tensorrt", "tensorrt_rtx"]  # type: ignore[index]
    assert machine.used_bytes(0) == before
    assert len(detector.detect(luma)) == len(found)
    close_detector(detector)
    with pytest.raises(ModelError):
        load_chosen_detector(other.model_copy(update={"detect": detect.model_copy(update={"engine": "tensorrt"})}))
    assert machine.leaks() == []


def test_too_little_memory_shows_at_load(machine: Machine, settings: ClassifySettings, tmp_path: Path) -> None:
    with load_trt_classifier("tensorrt", settings, cache_dir=tmp_path):
        held = machine.used_bytes(0)
    assert held > 0
    # Enough for the proof, which runs one batch at a time, and not for all that run at once.
    machine.faults.allocations_left = 3 * 2
    with pytest.raises(InferenceError, match="MemoryAllocation"):
        load_trt_classifier("tensorrt", settings, cache_dir=tmp_path)
    assert machine.leaks() == []


def test_after_load_nothing_is_allocated(machine: Machine, settings: ClassifySettings, tmp_path: Path) -> None:
    with load_trt_classifier("tensorrt", settings, cache_dir=tmp_path) as classifier:
        machine.faults.allocations_left = 0
        assert len(classifier.classify(crops(40))) == 40


def test_where_no_graph_can_be_captured_the_work_is_queued_call_by_call(
    machine: Machine, settings: ClassifySettings, tmp_path: Path
) -> None:
    machine.faults.capture = True
    with load_trt_classifier("tensorrt", settings, cache_dir=tmp_path) as classifier:
        np.testing.assert_allclose(classifier.classify(crops(9)), expected_probabilities(crops(9)), atol=5e-3)
    assert machine.num_launches == 0
    assert machine.leaks() == []


def test_a_broken_card_fails_every_batch_and_can_be_closed(
    machine: Machine, settings: ClassifySettings, tmp_path: Path
) -> None:
    classifier = load_trt_classifier("tensorrt", settings, cache_dir=tmp_path)
    machine.faults.sticky = True
    for _ in range(2):
        with pytest.raises(InferenceError, match="cudaErrorIllegalAddress"):
            classifier.classify(crops(1))
    machine.faults.sticky = False
    with pytest.raises(InferenceError, match="cudaErrorIllegalAddress"):
        classifier.classify(crops(1))
    classifier.close()


def test_an_engine_that_answers_something_else_is_not_used(
    machine: Machine, settings: ClassifySettings, tmp_path: Path
) -> None:
    machine.faults.wrong = True
    with pytest.raises(ManifestError):
        load_trt_classifier("tensorrt", settings, cache_dir=tmp_path)
    assert machine.leaks() == []


def test_an_engine_of_another_card_is_built_again(settings: ClassifySettings, tmp_path: Path) -> None:
    with gpu_machine() as machine:
        load_trt_classifier("tensorrt", settings, cache_dir=tmp_path).close()
        load_trt_classifier("tensorrt", settings, cache_dir=tmp_path).close()
        assert machine.num_builds == 1
    with gpu_machine(Device("NVIDIA A10", (8, 6))) as machine:
        load_trt_classifier("tensorrt", settings, cache_dir=tmp_path).close()
        assert machine.num_builds == 1


def test_of_several_engines_the_fastest_is_taken(
    machine: Machine, settings: ClassifySettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_classifier(settings, cache_dir=tmp_path).close()
    ((key, measured),) = remembered_choices(tmp_path / ENGINE_CHOICES_FILE).items()
    assert set(measured) == {"tensorrt", "tensorrt_rtx"}
    builds = machine.num_builds
    for faster in measured:
        remember_choice(tmp_path / ENGINE_CHOICES_FILE, key, {name: 1.0 + (name != faster) for name in measured})
        with caplog.at_level(logging.WARNING):
            classifier = load_classifier(settings, cache_dir=tmp_path)
        assert engine_info(classifier).engine == faster
        assert fastest_known(choose_engine(), settings, cache_dir=tmp_path) == faster
        classifier.close()
    assert machine.num_builds == builds
    assert caplog.records == []
    assert machine.leaks() == []


# --- several GPUs -----------------------------------------------------------------------------------------------------


def classify_from_threads(settings: ClassifySettings, cache_dir: Path) -> tuple[str, int | None]:
    with load_trt_classifier("tensorrt", settings, cache_dir=cache_dir) as classifier:
        begin = threading.Barrier(8)
        wrong: list[int] = []

        def work(seed: int) -> None:
            begin.wait()
            for number in range(10):
                some = crops(1 + (seed + number) % 20, seed)
                if not np.allclose(classifier.classify(some), expected_probabilities(some), atol=5e-3):
                    wrong.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        return engine_info(classifier).device, parallel_batches(classifier)


def test_all_gpus_of_a_machine_are_used(settings: ClassifySettings, tmp_path: Path) -> None:
    with gpu_machine(L40, L40, Device("NVIDIA A10", (8, 6))) as machine:
        assert [gpu.index for gpu in find_gpus()] == [0, 1, 2]
        machine.batches_by_device.clear()
        device, parallel = classify_from_threads(settings, tmp_path)
        assert device == "2x NVIDIA L40S, NVIDIA A10"
        assert parallel == 3 * NUM_LANES
        assert machine.num_builds == 2  # one for each kind of GPU
        assert set(machine.batches_by_device) == {0, 1, 2}
        assert machine.violations == []
        assert machine.leaks() == []


def test_a_gpu_that_the_package_does_not_run_on_is_left_to_others(settings: ClassifySettings, tmp_path: Path) -> None:
    with gpu_machine(Device("NVIDIA H100", (9, 0)), L40) as machine:
        with load_trt_classifier("tensorrt_rtx", settings, cache_dir=tmp_path) as classifier:
            assert engine_info(classifier).device == "NVIDIA L40S"
        assert set(machine.batches_by_device) == {1}
    with gpu_machine(Device("NVIDIA H100", (9, 0))), pytest.raises(EngineUnavailableError, match="H100"):
        load_trt_classifier("tensorrt_rtx", settings, cache_dir=tmp_path)


def test_of_two_gpus_one_without_memory_is_left_out(
    settings: ClassifySettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with gpu_machine(Device("NVIDIA L40S", (8, 9), memory_bytes=100), L40) as machine, caplog.at_level(logging.WARNING):
        device, _ = classify_from_threads(settings, tmp_path)
        assert device == "NVIDIA L40S"
        assert set(machine.batches_by_device) == {1}
        assert [record.args[0] for record in caplog.records] == [0]  # type: ignore[index]
        assert machine.leaks() == []


def test_streams_belong_to_the_gpu_of_their_thread(machine: Machine) -> None:
    stream = CudaStream()
    stream.device_buffer(16)
    stream.close()
    stream.close()
    assert machine.leaks() == machine.violations == []
