"""Nothing is lost while the sink is away, but for what a live stream must drop, and that is said."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent
from emostream.errors import ConfigError, EventRejectedError, SinkUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.publish.registry import open_redis_sink
from emostream.publish.spool.segments import Record, SegmentQueue
from emostream.publish.spool.sink import SpoolSink
from emostream.publish.spool.stream import EVENT
from emostream.testing.fakes import CollectingSink
from emostream.wire.events import json_from_event
from tests.ports import unused_port
from tests.publish.redis.test_sink import read_indexes
from tests.publish.samples import EPOCH, STATUS, events_of
from tests.publish.spool.full_disk import full_disk
from tests.publish.switchable_sink import Switchable, drained, indexes_of, live


async def test_passes_on_while_the_sink_is_there(tmp_path: Path) -> None:
    inner = Switchable()
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await spool.publish(events_of("door", range(3)))
        await spool.publish_status(STATUS)
        assert indexes_of(inner.events) == [0, 1, 2]
        assert (spool.stats.num_spooled, spool.num_waiting) == (0, 0)
    assert inner.is_closed


async def test_encodes_nothing_while_the_sink_is_there_and_once_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, encoded = Switchable(), [0]

    def counted(event: EmotionEvent) -> str:
        encoded[0] += 1
        return json_from_event(event)

    monkeypatch.setattr("emostream.publish.spool.sink.json_from_event", counted)
    async with SpoolSink(inner, folder=tmp_path, max_bytes_per_stream=1 << 16) as spool:
        for index in range(100):
            await spool.publish(events_of("door", [index]))
        assert encoded == [0]
        inner.is_away = True
        await spool.publish(events_of("door", range(100, 104)))
        assert encoded == [4]
        inner.is_away = False
        await drained(spool)
        await spool.publish(events_of("door", range(104, 110)))
        assert (encoded, indexes_of(inner.events)) == ([4], list(range(110)))
        inner.is_away = True
        waiting = asyncio.create_task(spool.publish(events_of("door", range(110, 1200))))  # a file waits for room
        await asyncio.sleep(0.5)
        inner.is_away = False
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert encoded == [4 + 1090], "once, however often it was looked for room"


async def test_streams_that_ended_leave_nothing_behind(tmp_path: Path) -> None:
    inner = Switchable()
    async with SpoolSink(inner, folder=tmp_path) as spool:
        for number in range(3):
            await spool.publish(events_of(f"file-{number}", [0]))
            await spool.publish_status(replace(STATUS, stream_id=f"file-{number}"))
        assert not spool._streams
        assert not list(tmp_path.glob("streams/*"))
        inner.is_away = True
        await spool.publish(events_of("door", [0]))
        inner.is_away = False
        await drained(spool)
    async with SpoolSink(inner, folder=tmp_path) as spool:
        assert not list(tmp_path.glob("streams/*")), "empty folders of earlier processes go"


async def test_keeps_the_order_of_events_and_statuses_over_an_absence(tmp_path: Path) -> None:
    inner = Switchable()
    log: list[object] = []
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await spool.publish(events_of("door", range(10)))
        inner.is_away = True
        for index in range(10, 600):
            await spool.publish(events_of("door", [index]))
        await spool.publish_status(STATUS)
        await spool.publish(events_of("door", [0, 1], epoch=EPOCH + 1))
        await spool.publish(events_of("hall", range(5)))
        assert spool.num_waiting == 598
        inner.is_away = False
        await drained(spool)
        await spool.publish(events_of("door", [2], epoch=EPOCH + 1))
    log = [(event.epoch, event.frame_index) for event in inner.events if event.stream_id == "door"]
    assert log == [(EPOCH, index) for index in range(600)] + [(EPOCH + 1, index) for index in range(3)]
    assert indexes_of([event for event in inner.events if event.stream_id == "hall"]) == [0, 1, 2, 3, 4]
    assert inner.statuses == [STATUS]
    assert all(event.num_dropped == 0 for event in inner.events)
    assert (spool.stats.num_spooled, spool.stats.num_sent) == (597, 597)


async def test_what_waits_survives_and_the_next_process_sends_it(tmp_path: Path) -> None:
    inner = Switchable(is_closed=False)
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await spool.publish(events_of("door", range(50)))
    later = Switchable()
    async with SpoolSink(later, folder=tmp_path) as spool:
        await drained(spool)
        await spool.publish(events_of("door", [50]))
    assert indexes_of(later.events) == list(range(51))


async def test_a_live_stream_drops_its_oldest_and_says_so(tmp_path: Path) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path, max_bytes_per_stream=40_000, kind_of=live) as spool:
        for index in range(400):
            await spool.publish([replace(events_of("door", [index])[0], num_dropped=1 if index == 0 else 0)])
        await spool.publish_status(STATUS)
        num_dropped = spool.stats.num_dropped
        assert num_dropped > 0
        inner.is_away = False
        await drained(spool)
    indexes = indexes_of(inner.events)
    assert indexes == list(range(num_dropped, 400)), "the newest are kept, without a gap"
    # The one frame that was lost before the first dropped event is announced as well.
    assert [event.num_dropped for event in inner.events] == [num_dropped + 1] + [0] * (len(indexes) - 1)
    assert inner.statuses == [STATUS]


async def test_what_was_dropped_is_announced_also_after_a_restart(tmp_path: Path) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path, max_bytes_per_stream=20_000, kind_of=live) as spool:
        await spool.publish_status(STATUS)
        for index in range(100):
            await spool.publish(events_of("door", [index]))
        num_dropped = spool.stats.num_dropped
    later = Switchable()
    async with SpoolSink(later, folder=tmp_path, max_bytes_per_stream=20_000, kind_of=live) as spool:
        await drained(spool)
    assert later.events[0].num_dropped == num_dropped == later.events[0].frame_index
    assert later.statuses == [STATUS], "changes of state are not dropped"


async def test_a_file_stream_waits_for_room(tmp_path: Path) -> None:
    inner = Switchable()
    inner.is_away = True

    async def publish_all(spool: SpoolSink) -> None:
        for index in range(200):
            await spool.publish(events_of("door", [index]))

    async with SpoolSink(inner, folder=tmp_path, max_bytes_per_stream=20_000) as spool:
        publishing = asyncio.create_task(publish_all(spool))
        await asyncio.sleep(0.5)
        assert not publishing.done()
        assert 0 < spool.num_waiting < 60
        inner.is_away = False
        await asyncio.wait_for(publishing, timeout=20)
        await drained(spool)
    assert indexes_of(inner.events) == list(range(200))


async def test_a_full_disk_lets_live_streams_go_on_in_memory(tmp_path: Path) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path, max_memory_events=10, kind_of=live) as spool:
        with full_disk():
            for index in range(30):
                await spool.publish(events_of("door", [index]))
        assert (spool.num_waiting, spool.stats.num_dropped) == (10, 20)
        await spool.publish(events_of("door", [30]))
        inner.is_away = False
        await drained(spool)
    assert indexes_of(inner.events) == list(range(20, 31))
    assert inner.events[0].num_dropped == 20


async def test_a_full_disk_lets_file_streams_wait(tmp_path: Path) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path) as spool:
        with full_disk():
            publishing = asyncio.create_task(spool.publish(events_of("door", [0])))
            await asyncio.sleep(0.3)
            assert not publishing.done()
        await asyncio.wait_for(publishing, timeout=5)
        inner.is_away = False
        await drained(spool)
    assert indexes_of(inner.events) == [0]


async def test_a_file_stream_goes_on_when_the_sink_comes_back_before_the_disk_has_room(tmp_path: Path) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path) as spool:
        with full_disk():
            publishing = asyncio.create_task(spool.publish(events_of("door", [0])))
            await asyncio.sleep(0.3)
            assert not publishing.done()
            inner.is_away = False
            await asyncio.wait_for(publishing, timeout=20)
    assert indexes_of(inner.events) == [0]


async def test_many_changes_of_state_on_a_full_disk_are_kept(tmp_path: Path) -> None:
    inner = Switchable()
    inner.is_away = True
    statuses = [replace(STATUS, num_events=number) for number in range(10)]
    async with SpoolSink(inner, folder=tmp_path, max_memory_events=3, kind_of=live) as spool:
        with full_disk():
            for status in statuses:
                await spool.publish_status(status)
            inner.is_away = False
            await drained(spool)
    assert sorted(inner.statuses, key=lambda status: status.num_events) == statuses


class Slow(Switchable):
    """A sink whose answers wait until they are let through."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        if not self.is_away:
            self.is_asked.set()
            await self.may_answer.wait()
        await super().publish(events)


@pytest.mark.parametrize("arrives", [True, False])
async def test_what_memory_drops_on_its_way_is_lost_only_if_it_does_not_arrive(tmp_path: Path, arrives: bool) -> None:
    inner = Slow()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path, max_memory_events=10, kind_of=live) as spool:
        with full_disk():
            await spool.publish(events_of("door", [0, 1], epoch=EPOCH - 1))  # an older run: sent in a call of its own
            await spool.publish(events_of("door", range(2, 10)))
            inner.is_away = False
            await asyncio.wait_for(inner.is_asked.wait(), timeout=20)
            await spool.publish(events_of("door", [10, 11]))  # takes the room of the first two
            inner.failures += [] if arrives else [SinkUnavailableError("went away before it answered")]
            inner.may_answer.set()
            await drained(spool)
    assert indexes_of(inner.events) == list(range(0 if arrives else 2, 12))
    assert spool.stats.num_dropped == sum(event.num_dropped for event in inner.events) == (0 if arrives else 2)


@pytest.mark.parametrize("arrives", [True, False])
async def test_what_the_disk_drops_on_its_way_is_lost_only_if_it_does_not_arrive(tmp_path: Path, arrives: bool) -> None:
    inner = Slow()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path, max_bytes_per_stream=20_000, kind_of=live) as spool:
        await spool.publish(events_of("door", [0, 1], epoch=EPOCH - 1))  # as above
        await spool.publish(events_of("door", [2]))
        inner.is_away = False
        await asyncio.wait_for(inner.is_asked.wait(), timeout=20)
        end = 3
        while not (num_dropped := spool.stats.num_dropped):
            await spool.publish(events_of("door", [end]))
            end += 1
        inner.failures += [] if arrives else [SinkUnavailableError("went away before it answered")]
        inner.may_answer.set()
        await drained(spool)
    num_lost_on_their_way = 0 if arrives else 2
    assert spool.stats.num_dropped == num_dropped + num_lost_on_their_way, "a counter never falls"
    assert indexes_of(inner.events) == [0, 1] * arrives + list(range(2 + num_dropped, end))
    assert sum(event.num_dropped for event in inner.events) == spool.stats.num_dropped


async def test_what_another_version_wrote_does_not_block_the_rest(tmp_path: Path) -> None:
    waiting = SegmentQueue(tmp_path / "streams" / "door", max_bytes=1 << 20)
    good = Record(EVENT, json_from_event(events_of("door", [1])[0]).encode())
    waiting.append([Record(EVENT, b'{"schema_version":99}'), good])
    inner = Switchable()
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await drained(spool)
        assert spool.stats.num_rejected == 1
    assert indexes_of(inner.events) == [1]


async def test_what_the_sink_refuses_for_ever_does_not_block_the_rest(tmp_path: Path) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await spool.publish(events_of("door", range(5)))
        await spool.publish(events_of("door", range(2), epoch=EPOCH + 1))
        inner.failures.append(EventRejectedError("a newer run publishes"))
        inner.is_away = False
        await drained(spool)
        assert spool.stats.num_rejected == 5
    assert [(event.epoch, event.frame_index) for event in inner.events] == [(EPOCH + 1, 0), (EPOCH + 1, 1)]


async def test_one_process_per_folder(tmp_path: Path) -> None:
    async with SpoolSink(CollectingSink(), folder=tmp_path):
        with pytest.raises(ConfigError):
            SpoolSink(CollectingSink(), folder=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError):
        SpoolSink(CollectingSink(), folder=tmp_path / "file")


CHILD = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from emostream.config import PublishSettings
    from emostream.publish.redis.sink import RedisSink
    from emostream.publish.spool.sink import SpoolSink
    from tests.publish.samples import events_of

    async def main() -> None:
        settings = PublishSettings(connect_timeout_seconds=0.5, max_retry_seconds=0.1)
        spool = SpoolSink(RedisSink(settings, redis_url=sys.argv[1]), folder=Path(sys.argv[2]))
        for index in range(100_000):
            await spool.publish(events_of("door", [index]))
            print(index, flush=True)

    asyncio.run(main())
""")


@pytest.mark.integration
async def test_a_killed_process_and_an_absent_server_lose_nothing(tmp_path: Path, unused_tcp_port: int) -> None:
    """The server is killed while a process publishes; then the process is killed; both come back."""
    data, folder = tmp_path / "data", tmp_path / "spool"
    server = EmbeddedRedis(data_dir=data, port=unused_tcp_port, password="p")
    await asyncio.to_thread(server.start)
    url = server.url
    child = subprocess.Popen([sys.executable, "-c", CHILD, url, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = -1
    with child:
        for line in child.stdout:
            acknowledged = int(line)
            if acknowledged == 150:
                os.kill(server.server_pid, signal.SIGKILL)
            if acknowledged == 800:
                child.kill()
                break
        acknowledged = max([acknowledged, *(int(line) for line in child.stdout if line.endswith("\n"))])
    await asyncio.to_thread(server.stop)
    server = EmbeddedRedis(data_dir=data, port=unused_tcp_port, password="p")
    await asyncio.to_thread(server.start)
    settings = PublishSettings(connect_timeout_seconds=1, max_retry_seconds=0.5)
    async with SpoolSink(RedisSink(settings, redis_url=url), folder=folder) as spool:
        await drained(spool)
    indexes = [index for _, index in await read_indexes(url, "door")]
    assert indexes == list(range(len(indexes))), "each once, in order, without a gap"
    assert len(indexes) > acknowledged, "what was acknowledged to the publisher is there"
    await asyncio.to_thread(server.stop)


async def test_settings_decide_whether_there_is_a_spool(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{unused_port()}"
    hasty = PublishSettings(connect_timeout_seconds=0.5, max_retry_seconds=0)
    bare = open_redis_sink(hasty, redis_url=url)
    spooling = open_redis_sink(hasty.model_copy(update={"spool_dir": tmp_path}), redis_url=url)
    with pytest.raises(SinkUnavailableError):
        await bare.publish(events_of("door", [0]))
    await spooling.publish(events_of("door", [0]))
    assert list(tmp_path.rglob("*.spool"))
    await bare.close()
    await spooling.close()
