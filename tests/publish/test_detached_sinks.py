"""Sinks beside another one: whatever becomes of them, the other one has its events and the stream goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from emostream.config import PublishSettings, load_settings
from emostream.domain.event import EmotionEvent
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError, EventRejectedError, SinkUnavailableError
from emostream.publish.counted_sink import CountedSink
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.registry import (
    OpenedFor,
    check_detached_sinks,
    event_files,
    open_detached_sinks,
    open_sinks,
)
from emostream.publish.sink import EventSink, readings_of
from emostream.publish.sink_group import SinkGroup
from emostream.publish.spool.sink import SpoolSink
from emostream.testing.fakes import CollectingSink
from tests.conftest import REPOSITORY
from tests.ports import unused_port
from tests.publish.redis.test_sink import read_indexes
from tests.publish.samples import STATUS, events_of
from tests.publish.switchable_sink import Switchable, indexes_of, live


def beside(inner: EventSink, folder: Path | None = None, **options: object) -> SpoolSink:
    sink = CountedSink(inner, name="other")
    return SpoolSink(sink, folder=folder, is_detached=True, name="other", **options)  # type: ignore[arg-type]


def figures(sink: EventSink) -> dict[tuple[str, ...], float]:
    """By the metric's name, and the values of its labels."""
    return {(reading.metric, *reading.labels.values()): reading.value for reading in readings_of(sink)}


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


class Hanging(CollectingSink):
    """A receiver that takes the connection and never answers."""

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
async def test_a_sink_that_never_answers_holds_nothing_up(tmp_path: Path, on_disk: bool) -> None:
    main, events = CollectingSink(), events_of("door", range(50))
    group = SinkGroup([beside(Hanging(), tmp_path if on_disk else None, kind_of=live), main])
    async with asyncio.timeout(5):
        for event in events:
            await group.publish([event])
    assert main.events == events
    assert figures(group)["emostream_sink_waiting_events", "other"] == 50
    for sink in group._sinks:
        if isinstance(sink, SpoolSink):
            sink._is_away = True  # do not wait for it at the end
    await group.close()


@pytest.mark.parametrize(
    "error",
    [
        SinkUnavailableError("away"),
        ConfigError("the login was refused"),
        ConnectionResetError("a sink of a plugin that translates nothing"),
        ZeroDivisionError("a defect of a plugin"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_sink_that_fails_is_tried_again(error: Exception) -> None:
    inner, main = CollectingSink(), CollectingSink()
    inner.failures += [error] * 3
    group = SinkGroup([beside(inner), main])
    events = events_of("door", range(10))
    for event in events:
        await group.publish([event])
    assert main.events == events
    await until(lambda: len(inner.events) == 10)
    assert inner.events == events
    assert figures(group)["emostream_sink_failures_total", "other"] == 3
    assert figures(group)["emostream_sink_up_ratio", "other"] == 1
    assert figures(group)["emostream_sink_events_total", "other", "delivered"] == 10
    await group.close()


async def test_what_a_sink_refuses_for_ever_is_counted_and_the_stream_goes_on() -> None:
    inner, main = CollectingSink(), CollectingSink()
    inner.failures.append(EventRejectedError("404"))
    group = SinkGroup([beside(inner), main])
    await group.publish(events_of("door", range(3)))
    await until(lambda: figures(group)["emostream_sink_waiting_events", "other"] == 0)
    await group.publish(events_of("door", range(3, 6)))
    await group.close()
    assert indexes_of(main.events) == [0, 1, 2, 3, 4, 5]
    assert indexes_of(inner.events) == [3, 4, 5]
    assert figures(group)["emostream_sink_events_total", "other", "rejected"] == 3


async def test_a_live_stream_loses_its_oldest_in_memory_and_says_so() -> None:
    inner = Switchable()
    inner.is_away = True
    sink = beside(inner, max_memory_events=10, kind_of=live)
    for index in range(30):
        await sink.publish(events_of("door", [index]))
    inner.is_away = False
    await until(lambda: sink.num_waiting == 0)
    assert indexes_of(inner.events) == list(range(20, 30))
    assert inner.events[0].num_dropped == 20
    assert figures(sink)["emostream_sink_lost_events_total", "other"] == 20
    await sink.close()


async def test_a_file_waits_for_room_in_memory_and_loses_nothing() -> None:
    inner = Switchable()
    inner.is_away = True
    sink = beside(inner, max_memory_events=10, kind_of=lambda _: StreamKind.FILE)
    publishing = asyncio.create_task(publish_each(sink, 30))
    await asyncio.sleep(0.3)
    assert not publishing.done()
    inner.is_away = False
    await asyncio.wait_for(publishing, timeout=20)
    await until(lambda: sink.num_waiting == 0)
    assert indexes_of(inner.events) == list(range(30))
    await sink.close()


async def publish_each(sink: EventSink, num_events: int) -> None:
    for index in range(num_events):
        await sink.publish(events_of("door", [index]))


async def test_the_end_of_a_file_does_not_cost_its_events() -> None:
    """Its status is published when the worker does not run it any more, and takes it for a live stream."""
    inner, kinds = Switchable(), {"door": StreamKind.FILE}
    inner.is_away = True
    sink = beside(inner, max_memory_events=10, kind_of=lambda stream_id: kinds.get(stream_id, StreamKind.LIVE))
    await publish_each(sink, 10)
    kinds.clear()
    telling = asyncio.create_task(sink.publish_status(replace(STATUS, stream_id="door")))
    await asyncio.sleep(0.1)
    inner.is_away = False
    await asyncio.wait_for(telling, timeout=20)
    await until(lambda: sink.num_waiting == 0)
    assert indexes_of(inner.events) == list(range(10))
    assert [status.stream_id for status in inner.statuses] == ["door"]
    await sink.close()


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
async def test_streams_that_ended_leave_nothing_behind(tmp_path: Path, on_disk: bool) -> None:
    inner = CollectingSink()
    sink = beside(inner, tmp_path if on_disk else None)
    for number in range(3):
        await sink.publish(events_of(f"file-{number}", range(5)))
        await sink.publish_status(replace(STATUS, stream_id=f"file-{number}"))
    await until(lambda: sink.num_waiting == 0 and not sink._streams)
    assert not list(tmp_path.glob("streams/*"))
    await sink.publish(events_of("file-0", range(5, 6)))
    await sink.close()
    assert len(inner.events) == 16


async def test_the_gauge_that_an_alert_watches_moves_only_while_the_sink_is_away() -> None:
    inner = Switchable()
    sink = beside(inner)
    await sink.publish(events_of("door", range(5)))
    assert figures(sink)["emostream_sink_waiting_events", "other"] == 5
    assert figures(sink)["emostream_spool_waiting_events",] == 0
    inner.is_away = True
    await until(lambda: figures(sink)["emostream_spool_waiting_events",] == 5)
    inner.is_away = False
    await until(lambda: sink.num_waiting == 0)
    assert figures(sink)["emostream_spool_waiting_events",] == 0
    await sink.close()


async def test_close_sends_what_still_waits() -> None:
    inner = CollectingSink()
    sink = beside(inner)
    await sink.publish(events_of("door", range(500)))
    await sink.close()
    assert indexes_of(inner.events) == list(range(500))
    assert inner.is_closed


CHILD = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from emostream.config import PublishSettings
    from emostream.publish.registry import OpenedFor, open_detached_sinks
    from tests.publish.samples import events_of

    async def main() -> None:
        settings = PublishSettings(connect_timeout_seconds=0.5, max_retry_seconds=0.1, spool_dir=Path(sys.argv[2]))
        (sink,) = open_detached_sinks([sys.argv[1]], OpenedFor(settings, "w1"))
        for index in range(200):
            await sink.publish(events_of("door", [index]))
            print(index, flush=True)
        await asyncio.sleep(60)

    asyncio.run(main())
""")


@pytest.mark.integration
async def test_a_killed_process_loses_nothing_and_a_new_password_finds_what_waits(tmp_path: Path) -> None:
    port = unused_port()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, f"redis://:old@127.0.0.1:{port}/0", str(tmp_path / "spool")],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    while child.stdout.readline().strip() != "199":
        assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with EmbeddedRedis(port=port, password="new") as server:
        settings = PublishSettings(connect_timeout_seconds=2, spool_dir=tmp_path / "spool")
        (sink,) = open_detached_sinks([f"redis://:new@127.0.0.1:{port}/0"], OpenedFor(settings, "w2"))
        async with SinkGroup([sink]) as group:
            await until(lambda: sum(r.value for r in group.readings() if "waiting_events" in r.metric) == 0)
        assert [index for _, index in await read_indexes(server.url, "door")] == list(range(200))


def settings_with(*urls: str) -> PublishSettings:
    return load_settings(publish={"sinks": list(urls)}).publish


WRONG = [
    "nowhere:x",
    "",
    "kafka",
    "jsonl:",
    "jsonl:/data/events.jsonl",
    "parquet:events.parquet",
    "redis://host:port",
    "webhook+https://",
    "kafka://",
    "kafka://host/topic?unknown=1",
    "mqtt://a,b/x",
    "mqtt://host/#",
]


@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_a_service_cannot_use_is_an_error_before_it_starts(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_detached_sinks(settings_with(url))
    assert caught.value.exit_code == 2


def test_good_urls_are_fine_and_nothing_is_made(tmp_path: Path) -> None:
    check_detached_sinks(
        settings_with(
            f"jsonl:{tmp_path}/events-{{worker}}.jsonl",
            f"parquet:{tmp_path}/{{worker}}.parquet",
            "redis://host/0",
            "webhook+https://host/events",
            "kafka://host/topic",
            "mqtt://host/prefix?client_id={worker}",
        )
    )
    assert not list(tmp_path.iterdir())


SECRET_URLS = [
    "redis://user:zebra@host/0",
    "kafka://user:zebra@host/topic?sasl_mechanism=PLAIN",
    "mqtts://user:zebra@host/prefix",
    "webhook+https://user:zebra@host/events?emostream_secret=zebra",
    "webhook+https://host/events?token=zebra&key=zebra",
    "webhook+https://hooks.example.org/services/T01/zebra0123456789abcdef",
]


@pytest.mark.parametrize("url", SECRET_URLS)
async def test_secrets_are_in_no_name(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = settings_with(url)
    assert "zebra" not in f"{settings!r} {settings.model_dump_json()}"
    opened = open_detached_sinks([url, url], OpenedFor(settings.model_copy(update={"spool_dir": tmp_path}), "w1"))
    said = " ".join(str(reading) for sink in opened for reading in readings_of(sink))
    assert "host" in said or "hooks" in said
    assert "zebra" not in f"{said} {[path.name for path in tmp_path.rglob('*')]} {caplog.text}"
    labels = {reading.labels["sink"] for sink in opened for reading in readings_of(sink) if "sink" in reading.labels}
    assert len(labels) == 2, "the same sink twice has two names"
    for sink in opened:
        await sink.close()


@pytest.mark.parametrize("value", ["zebra", ["x:zebra", 1], {"zebra": 1}, [["zebra"]]])
def test_the_error_about_a_wrong_list_holds_no_values(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(publish={"sinks": value})
    assert "zebra" not in str(caught.value)


async def test_workers_have_files_of_their_own(tmp_path: Path) -> None:
    url = f"jsonl:{tmp_path}/events-{{worker}}.jsonl"
    for worker in ("worker-1", "../worker 2"):
        (sink,) = open_detached_sinks([url], OpenedFor(PublishSettings(), worker))
        await sink.publish(events_of("door", range(3)))
        await sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events-..-worker-2.jsonl", "events-worker-1.jsonl"]
    assert all(len(path.read_text().splitlines()) == 3 for path in tmp_path.iterdir())


async def test_events_that_wait_for_a_removed_sink_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = PublishSettings(spool_dir=tmp_path, max_retry_seconds=0, connect_timeout_seconds=0.2)
    (sink,) = open_sinks([f"redis://127.0.0.1:{unused_port()}/0"], OpenedFor(settings, "w1"))
    await sink.publish(events_of("door", range(3)))
    await sink.close()
    assert not open_sinks([], OpenedFor(settings, "w1"))
    assert "not in the settings any more" in caplog.text


def test_the_files_among_sinks() -> None:
    urls = ["jsonl:a.jsonl", "redis://host", "parquet:/b.parquet"]
    assert event_files(urls) == [Path("a.jsonl"), Path("/b.parquet")]
