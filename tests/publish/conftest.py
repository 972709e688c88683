"""A real server for this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emostream.config import PublishSettings
from emostream.publish.redis.embedded import EmbeddedRedis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """One server for all tests that do not harm it; each uses stream ids of its own."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def stream_id(request: pytest.FixtureRequest) -> str:
    """A stream id no other test uses."""
    return f"s{abs(hash(request.node.nodeid)):x}"


@pytest.fixture
def publish_settings() -> PublishSettings:
    """Short time-outs, so that failing takes little time."""
    return PublishSettings(connect_timeout_seconds=2.0, max_retry_seconds=0.2)
