"""JSON lines: whole lines, also when the disk is full or the reader goes away."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emostream.errors import ConfigError, SinkUnavailableError
from emostream.publish.files.jsonl_sink import JsonlSink
from emostream.wire.events import event_from_json, json_from_event
from tests.publish.samples import EVENT, STATUS, events_of


async def test_status_events_are_left_out_by_default() -> None:
    stream = io.BytesIO()
    sink = JsonlSink(stream, name="memory", is_owned=False)
    await sink.publish_status(STATUS)
    await sink.publish([EVENT])
    assert stream.getvalue() == json_from_event(EVENT).encode() + b"\n"


async def test_a_stream_of_others_stays_open(tmp_path: Path) -> None:
    stream = io.BytesIO()
    await JsonlSink(stream, name="memory", is_owned=False).close()
    assert not stream.closed


@pytest.mark.parametrize("name", [".", "missing/events.jsonl", "file/events.jsonl"])
def test_a_file_that_cannot_be_made_is_a_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError):
        JsonlSink.to_file(tmp_path / name)


class FillingDisk(io.FileIO):
    """A file on a disk with room for a given number of bytes."""

    room = 0

    def write(self, content: object) -> int:
        view = memoryview(content)  # type: ignore[arg-type]
        if self.room == 0:
            raise OSError(28, "No space left on device")
        written = super().write(view[: self.room])
        assert written is not None
        self.room -= written
        return written


async def test_on_a_full_disk_whole_lines_stay_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    disk = FillingDisk(path, "wb")
    sink = JsonlSink(disk, name=str(path), is_owned=True)
    first, second, third = events_of("door", range(3))
    disk.room = int(2.5 * len(json_from_event(first)))
    await sink.publish([first])
    with pytest.raises(SinkUnavailableError, match="No space left on device"):
        await sink.publish([second, third])
    assert [event_from_json(line) for line in path.read_text().splitlines()] == [first]
    disk.room = 1 << 20
    await sink.publish([second, third])
    await sink.close()
    assert [event_from_json(line) for line in path.read_text().splitlines()] == [first, second, third]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_full_device_is_a_clear_error() -> None:
    sink = JsonlSink.to_file(Path("/dev/full"))
    with pytest.raises(SinkUnavailableError, match="No space left on device"):
        await sink.publish([EVENT])
    await sink.close()


async def test_streams_that_publish_at_once_into_a_slow_pipe_do_not_mix_their_lines() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb", buffering=0) as stream:
        sink = JsonlSink(stream, name="pipe", is_owned=True)
        calls = [sink.publish(events_of(name, range(1000))) for name in ("door", "hall", "yard")]
        publishing = asyncio.gather(*calls)
        lines = [await asyncio.to_thread(reader.readline) for _ in range(3000)]
        await publishing
        await sink.close()
    events = [event_from_json(line) for line in lines]
    for name in ("door", "hall", "yard"):
        assert [event.frame_index for event in events if event.stream_id == name] == list(range(1000))


async def test_a_cancelled_call_ends_before_the_file_is_closed() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader:
        sink = JsonlSink(os.fdopen(write_end, "wb", buffering=0), name="pipe", is_owned=True)
        publishing = asyncio.create_task(sink.publish(events_of("door", range(1000))))
        first = await asyncio.to_thread(reader.readline)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        closing = asyncio.create_task(sink.close())
        await asyncio.sleep(0.05)
        assert not closing.done(), "the pipe is full"
        rest = await asyncio.to_thread(reader.readlines)
        await closing
    assert [event_from_json(line).frame_index for line in [first, *rest]] == list(range(1000))


async def test_a_reader_that_went_away_is_a_clear_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb", buffering=0) as stream:
        sink = JsonlSink(stream, name="standard output", is_owned=False)
        with pytest.raises(SinkUnavailableError) as caught:
            await sink.publish([EVENT])
        assert isinstance(caught.value.__cause__, BrokenPipeError)


@pytest.mark.integration
def test_a_reader_that_went_away_leaves_no_traceback() -> None:
    program = (
        "import asyncio\n"
        "from emostream.errors import SinkUnavailableError\n"
        "from emostream.publish.files.jsonl_sink import JsonlSink\n"
        "from emostream.testing.fakes import gray_frames\n"
        "from tests.publish.samples import EVENT\n"
        "async def main():\n"
        "    sink = JsonlSink.to_stdout()\n"
        "    try:\n"
        "        for _ in range(10_000):\n"
        "            await sink.publish([EVENT])\n"
        "    except SinkUnavailableError:\n"
        "        raise SystemExit(6)\n"
        "asyncio.run(main())\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    event_from_json(child.stdout.readline())
    child.stdout.close()
    errors = child.stderr.read()
    child.stderr.close()
    assert child.wait(30) == 6
    assert errors == b""
