"""Files of the spool that were damaged, removed or cannot be read: what is lost is announced, and nobody is held up."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from emostream.publish.spool.sink import SpoolSink
from tests.publish.samples import events_of
from tests.publish.switchable_sink import Switchable, drained, indexes_of, live


def damage(segment: Path) -> None:
    """Change a byte of the content of the last but two of ten records, or of one beside it."""
    content = bytearray(segment.read_bytes())
    content[7 * len(content) // 10 + 50] ^= 0xFF
    segment.write_bytes(content)


def no_more_files(*args: object, **kwargs: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("is_removed", [False, True], ids=["damaged", "removed"])
async def test_damage_of_waiting_events_is_announced_and_blocks_no_other_stream(
    tmp_path: Path, is_removed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await spool.publish(events_of("door", range(10)))
        await spool.publish(events_of("hall", range(5)))
        (segment,) = (tmp_path / "streams" / "door").glob("*.spool")
        if is_removed:
            segment.unlink()
        else:
            damage(segment)
        inner.is_away = False
        await drained(spool)
        await spool.publish(events_of("door", [10]))
        await drained(spool)
    door = [event for event in inner.events if event.stream_id == "door"]
    arrived = indexes_of(door)
    num_lost = 10 - (len(arrived) - 1)
    assert arrived == [*range(10 - num_lost), 10]
    assert num_lost == 10 if is_removed else 2 <= num_lost <= 4
    assert sum(event.num_dropped for event in door) == door[-1].num_dropped == num_lost == spool.stats.num_dropped
    assert indexes_of([event for event in inner.events if event.stream_id == "hall"]) == [0, 1, 2, 3, 4]
    assert f"{num_lost} events that waited in" in caplog.text


async def test_what_was_damaged_between_two_processes_is_announced_as_well(tmp_path: Path) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await spool.publish(events_of("door", range(10)))
    (segment,) = (tmp_path / "streams" / "door").glob("*.spool")
    damage(segment)
    inner.is_away = False
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await spool.publish(events_of("door", [10]))
        await drained(spool)
    *before, after = inner.events
    assert 2 <= after.num_dropped == 10 - len(before) == spool.stats.num_dropped <= 4
    assert indexes_of(inner.events) == [*range(len(before)), 10]


@pytest.mark.parametrize("is_removed", [False, True], ids=["damaged", "removed"])
async def test_a_live_stream_goes_on_with_a_full_spool_that_was_damaged(tmp_path: Path, is_removed: bool) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path, max_bytes_per_stream=20_000, kind_of=live) as spool:
        for index in range(60):
            await spool.publish(events_of("door", [index]))
            if index == 30:
                for path in (tmp_path / "streams" / "door").glob("*.spool"):
                    if is_removed:
                        path.unlink()
                    else:
                        damage(path)
        inner.is_away = False
        await drained(spool)
        await spool.publish(events_of("door", [60]))
        await drained(spool)
    arrived = indexes_of(inner.events)
    assert arrived == sorted(arrived) and arrived[-1] == 60
    assert sum(event.num_dropped for event in inner.events) + len(arrived) == 61


async def test_a_file_that_cannot_be_read_for_a_while_keeps_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await spool.publish(events_of("door", range(3)))
        inner.is_away = False
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", no_more_files)
            await asyncio.sleep(0.5)
        assert not inner.events
        await drained(spool)
    assert indexes_of(inner.events) == [0, 1, 2]


async def test_a_stream_whose_file_cannot_be_read_holds_no_other_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inner, open_file = Switchable(), Path.open
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path) as spool:
        await spool.publish(events_of("door", range(3)))
        await spool.publish(events_of("hall", range(5)))
        inner.is_away = False
        with monkeypatch.context() as patch:
            patch.setattr(
                Path,
                "open",
                lambda path, *args, **kw: (no_more_files if "door" in path.parts else open_file)(path, *args, **kw),
            )
            await asyncio.sleep(2.5)
            assert [(event.stream_id, event.frame_index) for event in inner.events] == [("hall", i) for i in range(5)]
            assert "cannot read what waits in" in caplog.text and "Too many open files" in caplog.text
        await drained(spool)
    assert indexes_of(inner.events) == [0, 1, 2, 3, 4, 0, 1, 2]


async def test_a_live_stream_goes_on_in_memory_while_its_full_spool_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = Switchable()
    inner.is_away = True
    async with SpoolSink(inner, folder=tmp_path, max_bytes_per_stream=8_000, kind_of=live) as spool:
        for index in range(20):
            if index == 10:
                monkeypatch.setattr(Path, "open", no_more_files)
            await spool.publish(events_of("door", [index]))
        monkeypatch.undo()
        inner.is_away = False
        await drained(spool)
    arrived = indexes_of(inner.events)
    assert arrived[-10:] == list(range(10, 20))
    assert sum(event.num_dropped for event in inner.events) + len(arrived) == 20
