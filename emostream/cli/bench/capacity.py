"""Computes the resources that a number of streams needs, from measured costs.

    python -m emostream.cli.bench.capacity docs/scaling-inputs.json [--write docs/scaling.md]

The input file names the command that measured each cost. Costs that were not measured are absent, and so are results
that would depend on them. Measuring again refreshes the page.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Positive = Annotated[float, Field(gt=0)]


class _Inputs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Measured(_Inputs):
    """A measured value; its unit is part of the field's name."""

    value: _Positive
    measured_with: str = Field(min_length=1)
    """The command or table that measured it."""


class Costs(_Inputs):
    """Costs of one unit of work on the measured machine."""

    cores_per_stream: Measured
    """CPU cores used by one stream: decode, detect, follow, classify, publish."""
    classify_ms_per_face: Measured
    """CPU milliseconds of the emotion model per face, averaged over faces that are not classified again."""
    classified_share: Measured
    """Share of the faces that are classified; the others hardly changed and keep their result."""
    shared_call_ms_per_crop: Measured
    """CPU milliseconds of a worker per crop that it sends to a shared classifier."""
    max_streams_per_worker: Measured
    """Streams that one worker process sustains without drops."""
    memory_mb_per_worker: Measured
    """Resident memory of a worker process with that many streams."""
    memory_mb_per_ray_node: Measured
    """Resident memory of Ray on one machine."""
    event_bytes_in: Measured
    """Bytes sent to Redis per event."""
    event_bytes_out: Measured
    """Bytes sent by Redis to one consumer per event."""
    event_memory_bytes: Measured
    """Memory of one event in Redis."""
    publish_processor_us: Measured
    """Redis CPU time to write one event."""
    read_processor_us: Measured
    """Redis CPU time to read one event by one consumer."""
    heartbeat_processor_us: Measured
    """Redis CPU time of one heartbeat of a full worker when nothing changed."""
    heartbeat_bytes: Measured
    """Bytes that Redis sends for it."""
    change_processor_us: Measured
    """Redis CPU time per change that a heartbeat reports."""
    change_bytes: Measured
    """Bytes that Redis sends per change."""
    all_processor_us_per_stream: Measured
    """Redis CPU time per stream of a full refresh."""
    all_bytes_per_stream: Measured
    """Bytes that Redis sends per stream of a full refresh."""
    report_processor_us: Measured
    """Redis CPU time of a worker's report about one stream, once a second."""


class Assumptions(_Inputs):
    """Values that were chosen, not measured."""

    frames_per_second: _Positive
    """Of each stream."""
    faces_per_frame: _Positive
    """On average."""
    video_mbit_per_stream: _Positive
    """Bit rate of one source, as configured in the camera."""
    retention_seconds: _Positive
    """How long events are kept in Redis."""
    num_consumers: int = Field(ge=1)
    """Number of programs that read every event."""
    cores_per_node: int = Field(ge=1)
    """CPU cores of a worker machine."""
    target_load: float = Field(gt=0, lt=1)
    """Target CPU utilisation of workers and of Redis."""
    heartbeat_seconds: _Positive
    """See `service.heartbeat_seconds`."""
    heartbeats_between_all: int = Field(ge=1)
    """One of this many heartbeats is a full refresh (`service/registry/leases.py`)."""
    changes_per_stream_hour: _Positive
    """How often a stream is moved, changed or restarted."""
    streams_per_cell: int = Field(ge=1)
    """Streams per release: one registry, one Ray cluster."""
    redis_memory_gb: _Positive
    """Memory for events of one Redis server."""


class Inputs(_Inputs):
    """The content of an input file."""

    costs: Costs
    assumptions: Assumptions


class Plan(_Inputs):
    """The resources for a number of streams, over all cells."""

    num_streams: int
    num_cells: int
    num_workers: int
    worker_cores: float
    """CPU cores used."""
    worker_cores_with_own_gpu: float
    """CPU cores used if each worker classifies on a GPU of its own machine."""
    worker_cores_with_shared_gpu: float
    """CPU cores used by workers that send their crops to a shared classifier."""
    num_nodes: int
    memory_gb: float
    crops_per_second: float
    """Crops classified per second: the load of GPUs."""
    events_per_second: float
    video_gbit: float
    redis_in_mbit: float
    redis_out_mbit: float
    redis_memory_gb: float
    redis_cores: float
    """CPU cores that Redis uses for events, over all servers."""
    num_redis: int
    """Redis servers for events, as limited by CPU or by memory."""
    registry_load: float
    """Share of one core that heartbeats and reports use in one cell's registry."""
    registry_out_mbit: float
    """Traffic of heartbeats from one cell's registry."""


def plan(inputs: Inputs, num_streams: int) -> Plan:
    """Compute the resources for a number of streams."""
    costs, chosen = inputs.costs, inputs.assumptions
    num_cells = math.ceil(num_streams / chosen.streams_per_cell)
    per_cell = math.ceil(num_streams / num_cells)
    num_workers = math.ceil(num_streams / costs.max_streams_per_worker.value)
    cores = num_streams * costs.cores_per_stream.value
    num_nodes = math.ceil(cores / chosen.target_load / chosen.cores_per_node)
    events = num_streams * chosen.frames_per_second
    faces = events * chosen.faces_per_frame
    crops = faces * costs.classified_share.value
    cores_without_model = cores - faces * costs.classify_ms_per_face.value / 1000
    microseconds = costs.publish_processor_us.value + chosen.num_consumers * costs.read_processor_us.value
    redis_cores = events * microseconds / 1e6
    memory_gb = events * chosen.retention_seconds * costs.event_memory_bytes.value / 1e9
    return Plan(
        num_streams=num_streams,
        num_cells=num_cells,
        num_workers=num_workers,
        worker_cores=cores,
        worker_cores_with_own_gpu=cores_without_model,
        worker_cores_with_shared_gpu=cores_without_model + crops * costs.shared_call_ms_per_crop.value / 1000,
        num_nodes=num_nodes,
        memory_gb=(num_workers * costs.memory_mb_per_worker.value + num_nodes * costs.memory_mb_per_ray_node.value)
        / 1000,
        crops_per_second=crops,
        events_per_second=events,
        video_gbit=num_streams * chosen.video_mbit_per_stream / 1000,
        redis_in_mbit=events * costs.event_bytes_in.value * 8 / 1e6,
        redis_out_mbit=events * costs.event_bytes_out.value * chosen.num_consumers * 8 / 1e6,
        redis_memory_gb=memory_gb,
        redis_cores=redis_cores,
        num_redis=max(
            num_cells, math.ceil(redis_cores / chosen.target_load), math.ceil(memory_gb / chosen.redis_memory_gb)
        ),
        registry_load=registry_load(inputs, per_cell),
        registry_out_mbit=_registry_bytes(inputs, per_cell) * 8 / 1e6,
    )


def registry_load(inputs: Inputs, num_streams: int) -> float:
    """Share of one core used by the heartbeats and reports of `num_streams` streams."""
    costs = inputs.costs
    heartbeats = _of_heartbeats(
        inputs,
        num_streams,
        each=costs.heartbeat_processor_us.value,
        per_change=costs.change_processor_us.value,
        per_stream_of_all=costs.all_processor_us_per_stream.value,
    )
    return (heartbeats + num_streams * costs.report_processor_us.value) / 1e6


def _registry_bytes(inputs: Inputs, num_streams: int) -> float:
    costs = inputs.costs
    return _of_heartbeats(
        inputs,
        num_streams,
        each=costs.heartbeat_bytes.value,
        per_change=costs.change_bytes.value,
        per_stream_of_all=costs.all_bytes_per_stream.value,
    )


def _of_heartbeats(
    inputs: Inputs, num_streams: int, *, each: float, per_change: float, per_stream_of_all: float
) -> float:
    """Cost of all heartbeats per second: every worker sends them, and every worker receives every change."""
    chosen = inputs.assumptions
    num_workers = num_streams / inputs.costs.max_streams_per_worker.value
    beats = num_workers / chosen.heartbeat_seconds
    changes = num_streams * chosen.changes_per_stream_hour / 3600
    of_all = beats / chosen.heartbeats_between_all * num_streams * per_stream_of_all
    return beats * each + num_workers * changes * per_change + of_all


def largest_cell(inputs: Inputs) -> int:
    """The largest number of streams that one registry supports."""
    low, high = 1, 2
    while registry_load(inputs, high) <= inputs.assumptions.target_load:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if registry_load(inputs, middle) <= inputs.assumptions.target_load:
            low = middle
        else:
            high = middle
    return low


_ROWS: tuple[tuple[str, str, str], ...] = (
    ("cells (releases with a registry and a Ray cluster each)", "num_cells", ",.0f"),
    ("worker processes", "num_workers", ",.0f"),
    ("CPU cores used by workers", "worker_cores", ",.0f"),
    ("CPU cores used by workers with a GPU of their own (computed)", "worker_cores_with_own_gpu", ",.0f"),
    ("CPU cores used by workers with a shared GPU (computed)", "worker_cores_with_shared_gpu", ",.0f"),
    ("worker machines", "num_nodes", ",.0f"),
    ("memory of workers and Ray, GB", "memory_gb", ",.0f"),
    ("crops classified per second", "crops_per_second", ",.0f"),
    ("events per second", "events_per_second", ",.0f"),
    ("video received, Gbit/s", "video_gbit", ",.2f"),
    ("events written to Redis, Mbit/s", "redis_in_mbit", ",.0f"),
    ("events read from Redis, Mbit/s", "redis_out_mbit", ",.0f"),
    ("events kept in Redis, GB", "redis_memory_gb", ",.1f"),
    ("CPU cores used by Redis for events", "redis_cores", ",.1f"),
    ("Redis servers for events", "num_redis", ",.0f"),
    ("share of a core used by each registry", "registry_load", ".1%"),
    ("heartbeat traffic of each registry, Mbit/s", "registry_out_mbit", ",.1f"),
)


def plan_table(inputs: Inputs, numbers_of_streams: list[int]) -> str:
    """The plans as a Markdown table with a column per number of streams."""
    plans = [plan(inputs, number) for number in numbers_of_streams]
    lines = ["| streams | " + " | ".join(f"{number:,}" for number in numbers_of_streams) + " |"]
    lines.append("|---" * (len(plans) + 1) + "|")
    for title, name, form in _ROWS:
        lines.append(f"| {title} | " + " | ".join(format(getattr(each, name), form) for each in plans) + " |")
    return "\n".join(lines) + "\n"


def inputs_table(inputs: Inputs) -> str:
    """The costs and assumptions as Markdown tables."""
    lines = ["| cost | value | measured with |", "|---|---|---|"]
    for name in Costs.model_fields:
        cost: Measured = getattr(inputs.costs, name)
        lines.append(f"| {name} | {cost.value:g} | {cost.measured_with} |")
    lines += ["", "| chosen | value |", "|---|---|"]
    for name in Assumptions.model_fields:
        lines.append(f"| {name} | {getattr(inputs.assumptions, name):g} |")
    return "\n".join(lines) + "\n"


def read_inputs(path: Path) -> Inputs:
    """Read an input file (JSON)."""
    return Inputs.model_validate_json(path.read_text(encoding="utf-8"))


STREAM_NUMBERS = [100, 1_000, 10_000, 1_000_000]


def with_tables(page: str, inputs: Inputs) -> str:
    """Replace the text between the page's marks (`<!-- NAME -->` … `<!-- end -->`) by newly computed tables.

    Raises:
        ValueError: a mark is missing.
    """
    made = {
        "inputs": inputs_table(inputs),
        "plans": plan_table(inputs, STREAM_NUMBERS),
        "largest-cell": f"One registry supports at most {largest_cell(inputs):,} streams with these settings.\n",
    }
    for name, text in made.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not mark or not end:
            raise ValueError(f"the page has no section <!-- {name} --> … <!-- end -->")
        page = f"{before}{mark}\n{text}\n{end}{after}"
    return page


def main() -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--streams", type=int, nargs="+", default=STREAM_NUMBERS)
    parser.add_argument("--write", type=Path, help="write the tables into this page")
    arguments = parser.parse_args()
    inputs = read_inputs(arguments.inputs)
    if arguments.write is not None:
        arguments.write.write_text(with_tables(arguments.write.read_text(encoding="utf-8"), inputs), encoding="utf-8")
        return
    print(inputs_table(inputs))
    print(plan_table(inputs, arguments.streams))
    print(f"One registry supports at most {largest_cell(inputs):,} streams with these settings.")


if __name__ == "__main__":
    main()
