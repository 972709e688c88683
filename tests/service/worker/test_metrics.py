"""The figures of real workers, at one address."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from emostream.config import load_settings
from emostream.deployments.classifier_metrics import measured_classifier
from emostream.domain.stream import StreamState
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.api.app import build_api
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.metrics import Recorder
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.telemetry.values import MetricFamily
from emostream.testing.fakes import ConstantClassifier
from emostream.vision.classify.batcher import BatchStats
from tests.service.conftest import SETTINGS
from tests.service.measured_worker import measured_worker
from tests.service.streams import live_record

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
