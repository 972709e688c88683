"""The queue in files: a queue like any other, also after a restart and a torn write."""

from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.publish.spool.segments import QueueFullError, Record, SegmentQueue
from tests.publish.spool.full_disk import full_disk

contents = st.binary(min_size=1, max_size=40)
steps = st.lists(
    st.tuples(st.just("append"), st.lists(contents, min_size=1, max_size=5))
    | st.tuples(st.sampled_from(["take", "restart", "drop"]), st.integers(1, 6)),
    max_size=40,
)


def drained(queue: SegmentQueue) -> list[bytes]:
    """Everything that waits, taken."""
    taken = []
    while (peeked := queue.peek(3)).records:
        taken += [record.content for record in peeked.records]
        assert queue.take(peeked)
    return taken


@settings(max_examples=60, deadline=None)
@given(steps)
def test_it_is_a_queue(steps: list[tuple[str, list[bytes] | int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        queue = SegmentQueue(Path(folder), max_bytes=1000)
        model: deque[bytes] = deque()
        for name, argument in steps:
            if isinstance(argument, list):
                try:
                    queue.append([Record(b"e", content) for content in argument])
                    model.extend(argument)
                except QueueFullError:
                    pass
            elif name == "take":
                peeked = queue.peek(argument)
                assert queue.take(peeked) or not peeked.records
                assert [record.content for record in peeked.records] == [model.popleft() for _ in peeked.records]
            elif name == "drop":
                dropped = [record.content for record in queue.drop_oldest()]
                assert dropped == [model.popleft() for _ in dropped]
            else:
                queue = SegmentQueue(Path(folder), max_bytes=1000)
                # What was taken from a file that is not finished comes again; nothing is missing.
                again = [record.content for record in queue.peek(1000).records]
                while len(queue) > len(model):
                    assert queue.take(queue.peek(len(queue) - len(model)))
                assert len(again) >= min(1, len(model))
            assert len(queue) == len(model)
            assert queue.size_bytes <= 1000 + 5 * 60
        assert drained(queue) == list(model)


@settings(deadline=None)  # files
@given(st.lists(contents, min_size=1, max_size=8), st.data())
def test_a_torn_end_costs_only_what_was_being_written(records: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        queue = SegmentQueue(Path(folder), max_bytes=1 << 20)
        sizes = [0]
        for content in records:
            queue.append([Record(b"e", content)])
            sizes.append(queue.size_bytes)
        (path,) = Path(folder).iterdir()
        cut = data.draw(st.integers(0, sizes[-1]))
        path.write_bytes(path.read_bytes()[:cut])
        whole = max(number for number, size in enumerate(sizes) if size <= cut)
        again = SegmentQueue(Path(folder), max_bytes=1 << 20)
        assert len(again) == whole
        again.append([Record(b"e", b"new")])
        assert drained(again) == [*records[:whole], b"new"]


@settings(deadline=None)  # files
@given(st.binary(max_size=200))
def test_noise_in_a_file_does_no_harm(noise: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "000000000001.spool").write_bytes(noise)
        queue = SegmentQueue(Path(folder), max_bytes=1 << 20)
        queue.append([Record(b"e", b"new")])
        records = drained(queue)
        queue.drop_unreadable()
        assert [*records, *drained(queue)][-1] == b"new"


@pytest.mark.parametrize("num_zeros", [0, 1, 100])
def test_damage_costs_what_lies_behind_it_in_its_file_and_is_counted(tmp_path: Path, num_zeros: int) -> None:
    queue = SegmentQueue(tmp_path, max_bytes=1 << 20)
    queue.append([Record(b"e", b"%d" % number) for number in range(5)])
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[2 * len(content) // 5 - 1] ^= 1  # the content of the second record
    path.write_bytes(content + bytes(num_zeros))  # zeros: what a power cut leaves of a file that grew

    again = SegmentQueue(tmp_path, max_bytes=1 << 20)
    again.append([Record(b"e", b"new")])
    assert len(again) == 6
    assert drained(again) == [b"0"]
    assert again.drop_unreadable() == 4
    assert drained(again) == [b"new"]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_adds_nothing(tmp_path: Path) -> None:
    queue = SegmentQueue(tmp_path, max_bytes=1000)
    queue.append([Record(b"e", b"first")])
    (path,) = tmp_path.iterdir()
    size_bytes = path.stat().st_size
    with full_disk(room_bytes=size_bytes + 10), pytest.raises(QueueFullError):
        queue.append([Record(b"e", b"second" * 5)])
    assert path.stat().st_size == size_bytes, "nothing of it is left"
    queue.append([Record(b"s", b"third")])
    assert drained(SegmentQueue(tmp_path, max_bytes=1000)) == [b"first", b"third"]


def test_taking_what_was_dropped_takes_nothing(tmp_path: Path) -> None:
    queue = SegmentQueue(tmp_path, max_bytes=80)
    for number in range(4):
        queue.append([Record(b"e", b"%d" % number)])
    peeked = queue.peek(1)
    queue.drop_oldest()
    assert not queue.take(peeked)
    assert drained(queue) == [b"1", b"2", b"3"]


def test_an_empty_queue_leaves_no_files(tmp_path: Path) -> None:
    queue = SegmentQueue(tmp_path, max_bytes=100)
    queue.append([Record(b"e", b"x")])
    drained(queue)
    assert list(tmp_path.iterdir()) == []
    assert queue.drop_oldest() == []
