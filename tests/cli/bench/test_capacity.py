"""The page about scaling is computed from its inputs, and the examples of the chart hold what they promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emostream.cli.bench.capacity import (
    STREAM_NUMBERS,
    largest_cell,
    plan,
    plan_table,
    read_inputs,
    registry_load,
    with_tables,
)
from emostream.config import ServiceSettings
from emostream.service.registry.leases import LOOKS_BETWEEN_ALL
from tests.conftest import REPOSITORY

INPUTS = read_inputs(REPOSITORY / "docs" / "scaling-inputs.json")
PAGE = REPOSITORY / "docs" / "scaling.md"
EXAMPLES = REPOSITORY / "helm" / "emostream" / "examples"


def test_the_page_is_in_step_with_its_inputs() -> None:
    page = PAGE.read_text(encoding="utf-8")
    command = "python -m emostream.cli.bench.capacity docs/scaling-inputs.json --write docs/scaling.md"
    assert with_tables(page, INPUTS) == page, f"run `{command}`"


def test_a_page_without_a_place_for_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="<!-- plans -->"):
        with_tables(PAGE.read_text(encoding="utf-8").replace("<!-- plans -->", ""), INPUTS)


@pytest.mark.heavy
@given(st.integers(1, 2_000_000))
def test_what_is_planned_suffices(num_streams: int) -> None:
    planned, costs, chosen = plan(INPUTS, num_streams), INPUTS.costs, INPUTS.assumptions
    assert planned.num_workers * costs.max_streams_per_worker.value >= num_streams
    exact = 1 + 1e-9  # as far as floating point goes
    assert planned.num_nodes * chosen.cores_per_node * chosen.target_load * exact >= planned.worker_cores
    assert planned.num_redis * chosen.redis_memory_gb * exact >= planned.redis_memory_gb
    assert planned.num_redis * chosen.target_load * exact >= planned.redis_cores
    assert planned.num_cells * chosen.streams_per_cell >= num_streams
    assert planned.registry_load <= chosen.target_load
    assert 0 < planned.worker_cores_with_own_gpu < planned.worker_cores_with_shared_gpu
    assert planned.crops_per_second < planned.events_per_second * chosen.faces_per_frame


def test_the_largest_cell_is_the_one_whose_registry_is_just_not_overloaded() -> None:
    largest = largest_cell(INPUTS)
    assert INPUTS.assumptions.streams_per_cell <= largest

    def load(number: int) -> float:
        chosen = INPUTS.assumptions.model_copy(update={"streams_per_cell": number})
        return plan(INPUTS.model_copy(update={"assumptions": chosen}), number).registry_load

    assert load(largest) <= INPUTS.assumptions.target_load < load(largest + 1)


def test_heartbeats_ask_for_everything_as_often_as_the_registry_does() -> None:
    assert INPUTS.assumptions.heartbeats_between_all == LOOKS_BETWEEN_ALL
    assert INPUTS.assumptions.heartbeat_seconds == ServiceSettings().heartbeat_seconds


def test_the_table_has_a_column_for_each_number() -> None:
    rows = plan_table(INPUTS, STREAM_NUMBERS).splitlines()
    assert {row.count("|") for row in rows} == {len(STREAM_NUMBERS) + 2}
    assert "1,000,000" in rows[0]


def _values(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    return values


def _frames_per_worker() -> float:
    """Frames per second that one worker process was measured to sustain."""
    return INPUTS.costs.max_streams_per_worker.value * INPUTS.assumptions.frames_per_second


@pytest.mark.parametrize(
    ("name", "num_streams", "frames_per_second"), [("small-cpu.yaml", 24, 25), ("thousand-streams.yaml", 1000, 10)]
)
def test_examples_have_room_for_what_they_promise(name: str, num_streams: int, frames_per_second: float) -> None:
    workers = _values(name)["streamWorkers"]
    assert workers["max"] * workers["maxStreams"] >= num_streams
    assert workers["maxStreams"] * frames_per_second <= _frames_per_worker()
    cores = INPUTS.costs.cores_per_stream.value * frames_per_second / INPUTS.assumptions.frames_per_second
    assert workers["maxStreams"] * cores <= workers["cpus"]


def test_the_registry_of_the_large_example_is_not_overloaded() -> None:
    values = _values("thousand-streams.yaml")
    most = values["streamWorkers"]["max"] * values["streamWorkers"]["maxStreams"]
    assert registry_load(INPUTS, most) <= INPUTS.assumptions.target_load


def test_inputs_name_what_they_were_measured_with() -> None:
    for name, cost in INPUTS.costs.model_dump().items():
        assert len(cost["measured_with"]) > 10, name
    benchmarks = REPOSITORY / "tests" / "benchmarks"
    assert (benchmarks / "redis_costs.py").exists()
    assert Path(benchmarks / "placement.py").exists()
