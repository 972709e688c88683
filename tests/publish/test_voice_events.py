"""Voice events on their way: to Redis, through the spool, into files, to sinks that take none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emostream.config import PublishSettings
from emostream.publish.counted_sink import CountedSink
from emostream.publish.files.jsonl_sink import JsonlSink
from emostream.publish.redis.connection import open_redis
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.publish.sink import publish_voice
from emostream.publish.sink_group import SinkGroup
from emostream.publish.spool.sink import SpoolSink
from emostream.testing.fakes import CollectingSink
from emostream.wire.events import decode_voice, json_from_voice, voice_from_json
from emostream.wire.keys import VOICE_KEY
from tests.publish.samples import VOICE
from tests.publish.switchable_sink import Switchable, drained

VOICES = [
    replace(VOICE, window=replace(VOICE.window, window_index=index, started_pts_seconds=index / 2))
    for index in range(3)
]


def test_what_is_not_known_is_absent_and_the_rest_is_rounded() -> None:
    content = json.loads(json_from_voice(replace(VOICE, window=replace(VOICE.window, pitch_hz=123.456))))
    assert content["pitch_hz"] == 123.5
    assert not {"pitch_low_hz", "syllables_per_second"} & set(content)
    assert voice_from_json(json_from_voice(VOICE)) == VOICE


@pytest.mark.integration
async def test_redis_has_each_once(redis_server: EmbeddedRedis, publish_settings: PublishSettings) -> None:
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        for event in (*VOICES, VOICES[-1]):
            await sink.publish_voice(event)
    async with open_redis(redis_server.url, timeout_seconds=2) as client:
        entries: Any = await client.xrange(VOICE_KEY)
    assert [decode_voice(fields) for _, fields in entries] == VOICES


async def test_the_spool_keeps_them_in_order_over_an_absence(tmp_path: Path) -> None:
    inner = Switchable()
    async with SpoolSink(inner, folder=tmp_path) as spool:
        inner.is_away = True
        for event in VOICES:
            await spool.publish_voice(event)
        assert inner.voices == []
        inner.is_away = False
        await drained(spool)
        assert inner.voices == VOICES


async def test_a_file_of_lines_has_them(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink.to_file(path)
    await sink.publish_voice(VOICE)
    await sink.close()
    assert voice_from_json(path.read_text(encoding="utf-8")) == VOICE


class _FacesOnly:
    """A sink of a plugin that was written before there were voice events."""

    publish = CollectingSink.publish
    publish_status = CollectingSink.publish_status
    close = CollectingSink.close


async def test_sinks_that_take_none_are_given_none() -> None:
    taking = CollectingSink()
    group = SinkGroup([_FacesOnly(), CountedSink(taking, name="taking")])
    await publish_voice(group, VOICE)
    assert taking.voices == [VOICE]
