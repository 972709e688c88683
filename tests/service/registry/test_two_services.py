"""Two services on one Redis server: refused one database, and apart in two."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from emostream.config import load_settings
from emostream.errors import ConfigError
from emostream.pipeline.build import Models
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.preview_feed import PreviewFeed
from emostream.service.registry.store import RegistryStore
from emostream.service.worker.open import open_worker
from emostream.testing.fakes import ConstantClassifier, ScriptedDetector
from emostream.vision.classify.batcher import CropBatcher
from emostream.wire.preview import PreviewKind, PreviewPicture, bytes_from_preview, preview_channel
from tests.service.conftest import SETTINGS, LeasesOf

pytestmark = pytest.mark.integration


async def test_a_database_in_use_is_refused_to_a_service_with_another_name(
    store: RegistryStore, leases_of: LeasesOf
) -> None:
    await store.claim("north")
    worker = leases_of("w1", ttl_seconds=30)
    await worker.heartbeat({})
    with pytest.raises(ConfigError, match="north"):
        await store.claim("south")
    await store.claim("north")  # another process of the same service
    await worker.sign_off()
    await store.claim("south")
    await leases_of("w2", ttl_seconds=30).heartbeat({})
    with pytest.raises(ConfigError, match="south"):
        await store.claim("north")


async def test_dead_workers_hold_nothing(store: RegistryStore, leases_of: LeasesOf) -> None:
    await store.claim("north")
    await leases_of("w1", ttl_seconds=0.05).heartbeat({})
    await asyncio.sleep(0.1)
    await store.claim("south")


async def test_a_worker_of_another_service_does_not_start(
    redis_server: EmbeddedRedis, store: RegistryStore, leases_of: LeasesOf
) -> None:
    await store.claim("north")
    await leases_of("w1", ttl_seconds=30).heartbeat({})
    classifier = CropBatcher(ConstantClassifier(), num_workers=1, max_batch_size=32)
    models = Models(detector=ScriptedDetector([[]]), classifier=classifier)
    with pytest.raises(ConfigError, match="north"):
        async with open_worker(
            load_settings(service={"name": "south"}), redis_url=redis_server.url, worker_id="w2", models=models
        ):
            pass
    classifier.close()


async def test_previews_stay_in_their_database(redis_server: EmbeddedRedis, store: RegistryStore) -> None:
    """Redis passes messages between its databases."""
    channel = preview_channel("door", PreviewKind.BOXES)

    def picture_of(frame_index: int) -> bytes:
        picture = PreviewPicture("door", 1, frame_index, 0.0, datetime.now(UTC), 64, 48, b"jpeg")
        return bytes_from_preview(picture)

    other_url = f"{redis_server.url.rpartition('/')[0]}/1"
    async with RegistryStore(SETTINGS, redis_url=other_url) as other:
        async with PreviewFeed(store, channels=[channel]) as here, PreviewFeed(other, channels=[channel]) as there:
            found = {}
            for name, feed in (("here", here), ("there", there)):
                while name not in found:  # subscribing takes a moment
                    await store.publish(channel, picture_of(1))
                    await other.publish(channel, picture_of(2))
                    if (picture := await feed.next(timeout_seconds=0.1)) is not None:
                        found[name] = picture.frame_index
        assert found == {"here": 1, "there": 2}
