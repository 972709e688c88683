"""The figures of real workers, at one address."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from emostream.config import load_settings
from emostream.decode.backoff import Backoff
from emostream.decode.live_source import LiveSource
from emostream.deployments.classifier_metrics import measured_classifier
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import SourceUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.api.app import build_api
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.metrics import Recorder
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.service.senders.figures import SenderCounters
from emostream.service.worker.sink import open_worker_sink
from emostream.telemetry.gpu import gpu_loads
from emostream.telemetry.metrics import METRICS
from emostream.telemetry.values import MetricFamily
from emostream.testing.fakes import ConstantClassifier, ScriptedSource, gray_frames
from emostream.vision.classify.batcher import BatchStats
from tests.decode.test_live_source import HangingSource
from tests.service.conftest import SETTINGS
from tests.service.measured_worker import measured_worker
from tests.service.streams import EndlessSource, ScriptedParts, live_record

pytestmark = pytest.mark.integration

Values = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture
async def sink(redis_server: EmbeddedRedis) -> AsyncIterator[RedisSink]:
    settings = SETTINGS.model_copy(update={"group_check_seconds": 0.05})
    async with RedisSink(settings, redis_url=redis_server.url) as sink:
        yield sink


class Recorded:
    """A recorder that keeps what it gets."""

    def __init__(self) -> None:
        self.last: Values = {}

    def __call__(self, families: Sequence[MetricFamily]) -> None:
        self.last = {family.metric.name: family.values for family in families}

    async def until(self, is_so: Callable[[Values], bool]) -> None:
        async with asyncio.timeout(20):
            while not is_so(self.last):
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def interface(
    redis_url: str, *, record: Recorder | None = None, **service: object
) -> AsyncIterator[httpx.AsyncClient]:
    settings = load_settings(service=service, metrics={"interval_seconds": 0.1})
    app = build_api(settings, redis_url=redis_url, record=record)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


def samples_of(text: str) -> dict[str, list[dict[str, str]]]:
    """Labels of every sample, by name, without those that are 0."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.value:
                found.setdefault(sample.name, []).append(sample.labels)
    return found


async def scraped_until(
    client: httpx.AsyncClient, is_enough: Callable[[dict[str, list[dict[str, str]]]], bool]
) -> dict[str, list[dict[str, str]]]:
    async with asyncio.timeout(20):
        while True:
            response = await client.get("/metrics")
            assert response.status_code == 200
            if is_enough(found := samples_of(response.text)):
                return found
            await asyncio.sleep(0.1)


async def test_figures_of_workers_are_at_the_interface(
    store: RegistryStore, redis_server: EmbeddedRedis, sink: RedisSink
) -> None:
    async with measured_worker(store, sink=sink), interface(redis_server.url) as client:
        await StreamRegistry(store).create(live_record("door"))
        await store.redis.xgroup_create("emostream:events:door", "alarms", id="0", mkstream=True)
        found = await scraped_until(client, lambda found: "emostream_redis_group_lag_events" in found)
    door = {"worker_id": "w1", "stream_id": "door"}
    assert door in found["emostream_decode_frames_total"]
    assert door in found["emostream_track_faces_total"]
    assert {**door, "group": "alarms"} in found["emostream_redis_group_lag_events"]
    assert {"worker_id": "w1", "state": "running"} in found["emostream_streams"]
    assert {"worker_id": "w1", "change": "claimed"} in found["emostream_lease_changes_total"]
    assert {labels["worker_id"] for labels in found["emostream_build_info"]} == {"interface", "w1"}
    assert found["emostream_streams_wanted"] and found["emostream_worker_max_streams"]


async def test_figures_of_a_removed_stream_go(store: RegistryStore, sink: RedisSink) -> None:
    recorded, registry = Recorded(), StreamRegistry(store)
    async with measured_worker(store, sink=sink, record=recorded):
        await registry.create(live_record("door"))
        await recorded.until(lambda values: bool(values.get("emostream_publish_events_total")))
        await registry.remove("door")
        await recorded.until(lambda values: not values["emostream_publish_events_total"])
    assert not recorded.last["emostream_source_lag_seconds"]


async def test_a_paused_stream_has_no_lag(store: RegistryStore, sink: RedisSink) -> None:
    recorded, registry = Recorded(), StreamRegistry(store)
    async with measured_worker(store, sink=sink, record=recorded):
        await registry.create(live_record("door"))
        await recorded.until(lambda values: bool(values.get("emostream_source_lag_seconds")))
        await registry.change("door", lambda record: replace(record, is_paused=True))
        await recorded.until(lambda values: not values["emostream_source_lag_seconds"])


async def test_without_workers_the_interface_still_says_what_is_wanted(
    store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    registry = StreamRegistry(store)
    await registry.create(live_record("door"))
    await registry.create(live_record("gate"))
    leases = StreamLeases(store, worker_id="w0", max_streams=2, ttl_seconds=2.0)
    epochs = await leases.claim(["gate"])
    await leases.report({"gate": StreamReport(StreamState.FAILED, epoch=epochs["gate"], worker_id="w0")})
    async with interface(redis_server.url) as client:
        found = samples_of((await client.get("/metrics")).text)
    assert found["emostream_streams_wanted"] == [{"worker_id": "interface"}]
    assert found["emostream_streams"] == [{"worker_id": "interface", "state": "failed"}]
    assert (leases.stats.num_claimed, leases.stats.num_released) == (1, 1)


async def test_a_recorder_gets_what_only_the_interface_knows(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    registry, recorded = StreamRegistry(store), Recorded()
    await registry.create(live_record("door"))
    await registry.create(live_record("gate"))
    leases = StreamLeases(store, worker_id="w0", max_streams=2, ttl_seconds=2.0)
    async with interface(redis_server.url, record=recorded):
        await recorded.until(lambda values: values.get("emostream_streams_wanted") == {(): 2})
        epochs = await leases.claim(["gate"])
        await leases.report({"gate": StreamReport(StreamState.FAILED, epoch=epochs["gate"], worker_id="w0")})
        await recorded.until(lambda values: values["emostream_streams"][("failed",)] == 1)
    assert recorded.last["emostream_streams"] == {("ended",): 0, ("failed",): 1}
    assert recorded.last["emostream_streams_wanted"] == {(): 1}


async def test_a_shared_classifier_is_seen_as_well(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    stats, manifest = BatchStats(), ConstantClassifier().manifest
    settings = load_settings(metrics={"interval_seconds": 0.1})
    classifier = measured_classifier(
        settings, stats, redis_url=redis_server.url, process_id="classifier-1", manifest=manifest
    )
    async with classifier, interface(redis_server.url) as client:
        stats.add_batch(5, wait_seconds=0.5, compute_seconds=0.25)
        found = await scraped_until(client, lambda found: "emostream_classify_batch_size_sum" in found)
    of_it = {"worker_id": "classifier-1"}
    assert found["emostream_classify_batch_size_sum"] == [of_it]
    assert found["emostream_classify_wait_seconds_total"] == [of_it]
    assert found["emostream_classify_compute_seconds_total"] == [of_it]
    assert found["emostream_model_info"] == [{**of_it, "model": "constant", "version": "1"}]
    assert of_it in found["emostream_process_resident_memory_bytes"]


async def test_metrics_need_the_right_to_read(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    token = {"name": "prometheus", "sha256": hashlib.sha256(b"secret").hexdigest(), "scopes": ["read"]}
    async with interface(redis_server.url, tokens=[token]) as client:
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers={"Authorization": "Bearer secret"})).status_code == 200


# What stays 0 while nothing goes wrong but a source that goes away once and hangs once.
FAULTS = {
    "emostream_classify_repeated_frames_total",  # of a machine that has too much to do
    "emostream_decode_corrupt_total",
    "emostream_decode_dropped_frames_total",
    "emostream_events_lost_total",
    "emostream_redis_behind_warnings_total",
    "emostream_redis_retries_total",
    "emostream_redis_trimmed_events_total",
    "emostream_sender_key_frame_requests_total",  # with senders: service/senders/test_whip.py
    "emostream_sender_lost_packets_total",
    "emostream_sender_offers_total",
    "emostream_sender_received_bytes_total",
    "emostream_sender_retransmission_requests_total",
    "emostream_sender_waiting_streams",
    "emostream_senders",
    "emostream_sink_failures_total",
    "emostream_sink_lost_events_total",
    "emostream_sink_waiting_events",
    "emostream_source_clock_faults_total",
    "emostream_spool_events_total",
    "emostream_spool_waiting_events",
}


async def test_every_declared_metric_comes_to_the_interface(
    store: RegistryStore, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    """A live stream that is reopened after an error and after a hanging read, with a spool and a further sink."""
    let_go = threading.Event()

    def source_of(spec: StreamSpec) -> LiveSource:
        gone = ScriptedSource(gray_frames(3), error=SourceUnavailableError("it is away"), kind=StreamKind.LIVE)
        attempts = iter([gone, HangingSource(num_frames=3, let_go=let_go)])
        return LiveSource(
            lambda: next(attempts, EndlessSource()),
            backoff=Backoff(random.Random(0), base_seconds=0.001, cap_seconds=0.01),
            open_stall_seconds=10,
            read_stall_seconds=1,
        )

    settings = SETTINGS.model_copy(
        update={
            "group_check_seconds": 0.05,
            "spool_dir": tmp_path / "spool",
            "sinks": (SecretStr(f"jsonl:{tmp_path}/events-{{worker}}.jsonl"),),
        }
    )
    to_all = open_worker_sink(settings, redis_url=redis_server.url, kind_of=lambda stream_id: StreamKind.LIVE)
    assert METRICS.keys() >= FAULTS
    wanted = METRICS.keys() if gpu_loads() else {name for name in METRICS if not name.startswith("emostream_gpu_")}
    told: dict[str, float] = {}
    senders = SenderCounters()
    async with to_all, measured_worker(store, sink=to_all, parts=ScriptedParts(source_of), senders=senders):
        async with interface(redis_server.url) as client:
            await StreamRegistry(store).create(live_record("door"))
            await store.redis.xgroup_create("emostream:events:door", "alarms", id="0", mkstream=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(40):
                    while {name for name in wanted if not (told.get(name) or (name in FAULTS and name in told))}:
                        senders.of("door")
                        await asyncio.sleep(0.1)
                        for name, value in highest_values((await client.get("/metrics")).text).items():
                            told[name] = max(value, told.get(name, value))  # some are above 0 for a moment only
        let_go.set()
    assert wanted - told.keys() == set(), "nothing tells these"
    assert {name for name in wanted - FAULTS if not told[name]} == set(), "these stay 0"
    assert {name for name in told if name.startswith("emostream_")} <= METRICS.keys(), "these are not declared"


def highest_values(text: str) -> dict[str, float]:
    """The highest value of each metric; of a histogram, how many values it has."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        values = [sample.value for sample in family.samples if not sample.name.endswith(("_bucket", "_sum"))]
        found[name] = max(values, default=0.0)
    return found
