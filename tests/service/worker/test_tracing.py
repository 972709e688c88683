"""A whole worker traces the frames of its streams, to a real receiver."""

from __future__ import annotations

from pathlib import Path

import pytest

from emostream.domain.stream import StreamKind, StreamSpec
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.records import StreamRecord
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.telemetry.tracing import trace_id_of
from tests.media import make_clip
from tests.service.test_faults import a_worker, settings_of
from tests.service.worker_bench import Bench, bench, events_of, until

pytest.importorskip("opentelemetry.sdk")

from tests.otlp_receiver import attributes_of, otlp_receiver

__all__ = ["bench"]
pytestmark = pytest.mark.integration


async def test_traces_of_a_worker_carry_the_epoch_of_its_events(
    bench: Bench, store: RegistryStore, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=5)
    settings = settings_of()
    service = settings.service.model_copy(update={"media_root": tmp_path})
    with otlp_receiver() as receiver:
        tracing = settings.tracing.model_copy(update={"ratio": 1.0, "endpoint": receiver.url})
        traced = settings.model_copy(update={"service": service, "tracing": tracing})
        async with a_worker(redis_server.url, settings=traced):
            record = StreamRecord(StreamSpec("clip", f"file://{clip}", StreamKind.FILE))
            await StreamRegistry(store).create(record)

            async def is_published() -> bool:
                return len((await events_of(redis_server.url)).get("clip", ())) == 5

            await until(is_published, timeout_seconds=60)
    published = (await events_of(redis_server.url))["clip"]
    roots = {int.from_bytes(root.trace_id, "big"): root for root in receiver.roots()}
    assert roots.keys() == {trace_id_of("clip", epoch=epoch, frame_index=index) for epoch, index in published}
    for root in roots.values():
        stages = receiver.children_of(root)
        decode = stages["decode"]
        assert decode.end_time_unix_nano > decode.start_time_unix_nano
        assert {"follow", "classify", "publish"} <= stages.keys()
        assert attributes_of(root)["emostream.stream_id"] == "clip"
    assert receiver.resources[0]["service.instance.id"] == "w1"
