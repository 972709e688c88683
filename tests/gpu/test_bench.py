"""The benchmark of a GPU goes through all its steps; no test asserts a speed."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from rich.console import Console
from typer.testing import CliRunner

from emostream.cli.app import app
from emostream.cli.bench.gpu import bench_gpu, multiply_adds
from emostream.cli.bench.tables import gpu_tables
from emostream.config import Settings
from emostream.errors import EngineUnavailableError, InferenceError
from emostream.vision.engines.trt.cuda import find_gpus, peak_half_flops
from tests.cuda_double import gpu_machine
from tests.cuda_double.machine import Device
from tests.onnx_models import save_classifier
from tests.vision.detect.tiny_models import tiny_centerface


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Tiny models: on the double everything is computed by the processor."""
    detector = tmp_path / "centerface.onnx"
    detector.write_bytes(tiny_centerface())
    monkeypatch.setattr("emostream.vision.models.store.ModelStore.path_of", lambda self, name: detector)
    classify = {"model": str(save_classifier(tmp_path)), "max_batch_size": 16, "batches": [1, 8]}
    return Settings.model_validate({"classify": classify})


VIDEO = (160, 96)


def test_every_step_reports(settings: Settings) -> None:
    result = bench_gpu(settings, seconds=0.02, videos=[VIDEO])
    assert {build["proof"] is not None for build in result.builds} == {True}
    engines = {figure.engine for figure in result.batches}
    assert engines
    for engine in engines:
        mine = [figure for figure in result.batches if figure.engine == engine]
        assert {figure.batch for figure in mine if figure.model == "classifier"} == {1, 8}
        assert {figure.batch for figure in mine if figure.model == "detector"} in ({1, 4, 16}, set())
        assert all(figure.per_second > 0 and figure.milliseconds > 0 for figure in mine)
        loads = [load for load in result.deadlines if load.engine == engine]
        assert loads
        assert all(load.p99_ms >= load.p50_ms > 0 for load in loads)
    assert result.decoding["160x96"]["frames_per_second"] > 0
    assert json.loads(json.dumps(result.as_dict()))["gpus"] == [str(gpu) for gpu in find_gpus()]
    console = Console(width=200, file=io.StringIO())
    console.print(*gpu_tables(result))


def test_what_fails_is_in_the_report_and_no_step_begins_late(settings: Settings) -> None:
    with gpu_machine() as machine:
        machine.faults.wrong = True
        late = bench_gpu(settings, seconds=0.01, videos=[VIDEO], max_seconds=0)
        result = bench_gpu(settings, seconds=0.01, videos=())
    assert late.failures == []
    assert len([line for line in late.notes if "left out" in line]) == 5
    assert [line.partition(":")[0] for line in result.failures] == ["tensorrt"] * 2 + ["tensorrt_rtx"] * 2


def test_without_a_gpu_the_command_ends_with_its_exit_code() -> None:
    with gpu_machine() as machine:
        machine.devices = ()
        result = CliRunner().invoke(app, ["bench", "gpu"])
    assert isinstance(result.exception, EngineUnavailableError)
    assert result.exception.exit_code == 5


@pytest.mark.skipif(os.environ.get("EMOSTREAM_REQUIRE_GPU") == "1", reason="a card has figures of its own")
def test_the_peak_is_that_of_the_data_sheet() -> None:
    with gpu_machine():
        assert peak_half_flops(find_gpus()[0]) == pytest.approx(362e12, rel=0.02)  # L40S: 362 TFLOPS, dense
    with gpu_machine(Device("NVIDIA GeForce GTX 1080", (6, 1))):
        assert peak_half_flops(find_gpus()[0]) is None


def test_multiply_adds_of_a_convolution_and_a_product() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "kernels"], ["maps"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["maps"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])],
        [
            helper.make_tensor("kernels", TensorProto.FLOAT, [5, 3, 3, 3], [0.0] * 135),
            helper.make_tensor("weights", TensorProto.FLOAT, [80, 7], [0.0] * 560),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert multiply_adds(model, (1, 3, 8, 8)) == 5 * 4 * 4 * 27 + 80 * 7
    unknown = onnx.ModelProto()
    unknown.CopyFrom(model)
    unknown.graph.node[0].op_type = "Gemm"
    with pytest.raises(InferenceError):
        multiply_adds(unknown, (1, 3, 8, 8))
