"""Previews where Redis is a cluster or stands behind Sentinels."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from emostream.service.api.preview_feed import PreviewFeed
from emostream.service.registry.store import RegistryStore
from emostream.wire.preview import PreviewKind, preview_channel
from tests.publish.redis_topologies import Cluster, Watched, running, server_binaries, start_cluster, start_sentinels
from tests.service.api.test_previews import message_of
from tests.service.conftest import SETTINGS

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(params=[start_cluster, start_sentinels], ids=["cluster", "sentinel"])
def topology(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster | Watched]:
    with running(server_binaries()[0], tmp_path_factory.mktemp("servers")) as servers:
        yield request.param(servers)


async def test_a_picture_arrives(topology: Cluster | Watched) -> None:
    channel = preview_channel("door", PreviewKind.PLAIN)
    async with (
        RegistryStore(SETTINGS, redis_url=topology.url()) as one,
        RegistryStore(SETTINGS, redis_url=topology.url()) as other,
        PreviewFeed(one, channels=[channel]) as feed,
        asyncio.timeout(20),
    ):
        picture = None
        while picture is None:
            await other.publish(channel, message_of(5))
            picture = await feed.next(timeout_seconds=0.2)
        assert picture.frame_index == 5
