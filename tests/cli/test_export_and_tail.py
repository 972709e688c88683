"""`emostream export` and `tail` against a real server, as child processes."""

from __future__ import annotations

import asyncio
import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from emostream.config import PublishSettings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import events_key
from tests.integration.command_line import run_emostream
from tests.publish.samples import CAPTURED_AT, events_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def url() -> object:
    with EmbeddedRedis() as server:
        asyncio.run(_publish(server.url))
        yield server.url


async def _publish(url: str) -> None:
    async with RedisSink(PublishSettings(), redis_url=url) as sink:
        sad = [
            replace(event, faces=(replace(event.faces[0], dominant="sad" if event.frame_index > 5 else "happy"),))
            for event in events_of("door", range(10))
        ]
        await sink.publish(sad)
        await sink.publish(events_of("hall", range(3)))


def test_export_writes_all_streams_or_some(url: str, tmp_path: Path) -> None:
    outcome = run_emostream("export", "--output", "all.csv", "--redis", url, cwd=tmp_path)
    assert (outcome.code, "13 events" in outcome.err) == (0, True), outcome.err
    with (tmp_path / "all.csv").open(encoding="utf-8") as file:
        assert [row["stream_id"] for row in csv.DictReader(file)].count("hall") == 3
    later = (CAPTURED_AT.replace(microsecond=200_000)).isoformat()
    for arguments in (["door", "--output", "door.parquet"], ["door-2.parquet", "door"]):  # the second as it was before
        outcome = run_emostream("export", *arguments, "--from", later, "--redis", url, cwd=tmp_path)
        assert (outcome.code, "5 events" in outcome.err) == (0, True), outcome.err


def test_export_says_what_is_wrong(url: str, tmp_path: Path) -> None:
    for arguments, message in (
        (["--output", "x.csv"], "--redis"),
        (["--redis", url], "--output"),
        (["--output", "x.xlsx", "--redis", url], "known format"),
        (["--output", "x.csv", "--redis", url, "--from", "2026-11-23T10:00:00"], "zone"),
    ):
        outcome = run_emostream("export", *arguments, cwd=tmp_path)
        assert (outcome.code, message in outcome.err) == (2, True), outcome.err


def test_names_of_others_are_text_for_tail(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        key = events_key("hostile")
        (_, fields), *_ = client.xrange(events_key("hall"), count=1)
        client.xadd(key, {b"event": fields[b"event"].replace(b"happy", b"[/x]").replace(b"hall", b"[bold]")})
        outcome = run_emostream("tail", "hostile", "--from", "start", "--no-follow", "--redis", url)
        client.delete(key)
    assert outcome.code == 0, outcome.err
    assert "[bold]" in outcome.out and "[/x]" in outcome.out


def test_tail_of_changes_only(url: str, tmp_path: Path) -> None:
    arguments = ["door", "--from", "start", "--no-follow", "--changes", "--redis", url]
    outcome = run_emostream("tail", *arguments, cwd=tmp_path)
    lines = outcome.out.splitlines()
    assert (outcome.code, len(lines)) == (0, 2), outcome.err
    assert "absent → happy" in lines[0] and "happy → sad" in lines[1]
    outcome = run_emostream("tail", *arguments, "--json", cwd=tmp_path)
    assert [json.loads(line)["frame_index"] for line in outcome.out.splitlines()] == [0, 6]


def test_a_misspelt_stream_is_said(url: str, tmp_path: Path) -> None:
    for command in (["tail", "dor", "--no-follow"], ["export", "dor", "--output", "x.csv"]):
        outcome = run_emostream(*command, "--redis", url, cwd=tmp_path)
        assert (outcome.code, "door" in outcome.err) == (2, True), outcome.err
