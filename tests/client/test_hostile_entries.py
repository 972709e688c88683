"""Whatever stands between events in a stream, every reader gives exactly the events and goes on."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from emostream.client import ConsumerGroup, EmotionEvents
from emostream.config import PublishSettings
from emostream.publish.redis.connection import open_redis
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.wire.events import json_from_event
from emostream.wire.keys import events_key
from tests.publish.samples import EVENT, events_of

pytestmark = pytest.mark.integration

SETTINGS = PublishSettings(connect_timeout_seconds=5)
VALID = json.loads(json_from_event(EVENT))
BOMBS = [
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b"9" * 50_000,
    b" " * ((1 << 21) + 1),
    b"\x91" * 50_000,  # MessagePack: an array in an array in an array …
    b"\x81\xa1a" * 50_000,  # … a map in a map
    b"\xdd\xff\xff\xff\xff",  # an array, a map and bytes that say they hold four billion items
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xd7\xff" + b"\xff" * 8,  # a time stamp beyond the calendar
    b"\xc7\x04\x05abcd",  # an extension type
    b"\xcf" + b"\xff" * 8,  # an integer beyond 2⁶³
    b"\x82\xa1a\x01\xa1a\x02",  # the same name twice
    b"\x81\x01\x02",  # a number as a name
    b"\x81\xa1a\xca\x7f\xc0\x00\x00",  # not a number
]

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
changed = st.builds(lambda name, value: {**VALID, name: value}, st.sampled_from(sorted(VALID)), json_values)
contents = json_values | changed
entries = st.dictionaries(
    st.sampled_from([b"event", b"packed", b"epoch", b"frame_index", b"\xff", b""]),
    st.binary(max_size=60)
    | st.sampled_from(BOMBS)
    | contents.map(lambda content: json.dumps(content).encode())
    | contents.map(lambda content: bytes(msgpack.packb(content))),
    min_size=1,
    max_size=4,
)


async def _check(url: str, hostile: list[dict[bytes, bytes]]) -> None:
    stream_id = f"hostile-{uuid.uuid4().hex[:12]}"
    key = events_key(stream_id)
    async with open_redis(url, timeout_seconds=5) as client, RedisSink(SETTINGS, redis_url=url) as sink:
        for number, fields in enumerate(hostile):
            await client.xadd(key, fields, id=f"{number + 1}-0")  # type: ignore[arg-type]
        # The publisher looks at the last entry only; tests/publish/redis/test_sink.py forges that one.
        await client.xadd(key, {b"end": b"of what is hostile"}, id=f"{len(hostile) + 1}-0")
        await sink.publish(events_of(stream_id, range(3)))
        assert sink.stats.num_published == 3
        subscription = EmotionEvents(url, streams=[stream_id], start="start", follow=False)
        seen = [event async for event in subscription]
        # A changed event may be an event still; what the publisher wrote is there in any case, and in order.
        assert [event.frame_index for event in seen if event.stream_id == stream_id] == [0, 1, 2]
        async with ConsumerGroup(url, group="g", streams=[stream_id]) as group, asyncio.timeout(20):
            given_out = []
            async for delivery in group:
                given_out.append(delivery.event)
                await group.ack(delivery)
                if len(given_out) == len(seen):
                    break
        assert given_out == seen
        assert group.stats.num_dead == subscription.num_rejected
        await client.delete(key)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hostile=st.lists(entries, max_size=8))
@example(hostile=[{b"event": bomb} for bomb in BOMBS] + [{b"packed": bomb} for bomb in BOMBS])
def test_hostile_entries_stop_no_reader(redis_server: EmbeddedRedis, hostile: list[dict[bytes, bytes]]) -> None:
    asyncio.run(_check(redis_server.url, hostile))
