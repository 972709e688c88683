"""Would SQLite do for the spool? The same questions to our queue of files and to a table in SQLite (WAL).

    python -m tests.benchmarks.spool_queue --small-disk /mnt/small

How many events a second are kept and given back, what is there after `kill -9`, what is left of damaged files, and,
with `--small-disk FOLDER` on a file system of a few MiB, what a full disk lets do. Decision 12 has the answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from emostream.publish.spool.segments import QueueFullError, Record, SegmentQueue
from emostream.publish.spool.sink import SpoolSink
from emostream.testing.fakes import CollectingSink
from emostream.wire.events import json_from_event
from tests.publish.samples import events_of

_DAMAGE_BYTES = 4096


class Queue(Protocol):
    """What a spool needs of its queue."""

    def __len__(self) -> int: ...

    def append(self, records: Sequence[Record]) -> None: ...

    def take_oldest(self, max_records: int) -> list[Record]: ...

    def drop_oldest(self) -> list[Record]: ...


class Segments(SegmentQueue):
    """Ours."""

    def take_oldest(self, max_records: int) -> list[Record]:
        peeked = self.peek(max_records)
        if peeked.records:
            self.take(peeked)
        else:
            self.drop_unreadable()
        return peeked.records


class Sqlite:
    """A table in SQLite; `synchronous=OFF` as our files, which the operating system writes when it likes."""

    def __init__(self, folder: Path, *, max_bytes: int, synchronous: str = "OFF") -> None:
        del max_bytes  # not reached here
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "queue.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={synchronous}")
        self._db.execute("CREATE TABLE IF NOT EXISTS q (id INTEGER PRIMARY KEY AUTOINCREMENT, kind BLOB, content BLOB)")
        (first,) = self._db.execute("SELECT min(id) FROM q").fetchone()  # apart: together they would read all pages
        (last,) = self._db.execute("SELECT max(id) FROM q").fetchone()
        self._num_records = 0 if first is None else last - first + 1

    def __len__(self) -> int:
        return int(self._num_records)

    def append(self, records: Sequence[Record]) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT INTO q(kind, content) VALUES (?, ?)", [(r.kind, r.content) for r in records])
        self._num_records += len(records)

    def take_oldest(self, max_records: int) -> list[Record]:
        rows = self._db.execute("SELECT id, kind, content FROM q ORDER BY id LIMIT ?", (max_records,)).fetchall()
        if rows:
            self._db.execute("DELETE FROM q WHERE id <= ?", (rows[-1][0],))
        self._num_records -= len(rows)
        return [Record(kind, content) for _, kind, content in rows]

    def drop_oldest(self) -> list[Record]:
        return self.take_oldest(max(1, len(self) // 8))

    def close(self) -> None:
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()


QUEUES: dict[str, Callable[[Path], Segments | Sqlite]] = {
    "segments": lambda folder: Segments(folder, max_bytes=1 << 30),
    "sqlite": lambda folder: Sqlite(folder, max_bytes=1 << 30),
    "sqlite-full": lambda folder: Sqlite(folder, max_bytes=1 << 30, synchronous="FULL"),
}


def record(index: int) -> Record:
    """An event as it waits."""
    return Record(b"e", json_from_event(events_of("door", [index])[0]).encode())


def rates(name: str, *, num_records: int = 4000) -> None:
    """The best of three."""
    records = [record(index) for index in range(num_records)]
    for size in (1, 8):
        best_in = best_out = 0.0
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                queue = QUEUES[name](Path(folder, "q"))
                started = time.perf_counter()
                for start in range(0, num_records, size):
                    queue.append(records[start : start + size])
                best_in = max(best_in, num_records / (time.perf_counter() - started))
                started = time.perf_counter()
                while len(queue):
                    queue.take_oldest(256)
                best_out = max(best_out, num_records / (time.perf_counter() - started))
        print(f"{name}, {size} a call: {best_in:,.0f} kept a second, {best_out:,.0f} given back a second")


def killed(name: str, *, num_runs: int = 20) -> None:
    """A process that keeps events is killed; the next one counts."""
    num_lossy = 0
    for _ in range(num_runs):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tests.benchmarks.spool_queue", "--child", name, folder]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
                assert child.stdout is not None
                child.stdout.readline()
                time.sleep(random.uniform(0.02, 0.2))
                child.kill()
                said = child.stdout.read().split()
            num_lossy += len(QUEUES[name](Path(folder, "q"))) < (int(said[-1]) + 1 if said else 1)
    print(f"{name}: {num_runs} runs killed, {num_lossy} lost what was acknowledged")


def damaged(name: str, *, num_runs: int = 30, num_records: int = 500) -> None:
    """4 KiB of a file are overwritten between two processes."""
    counts, num_stopped = [], 0
    for run in range(num_runs):
        rng = random.Random(run)
        with tempfile.TemporaryDirectory() as folder:
            open_queue: Callable[..., Segments | Sqlite] = Segments if name == "segments" else Sqlite
            queue = open_queue(Path(folder, "q"), max_bytes=1 << 20)
            for index in range(num_records):
                queue.append([record(index)])
            if isinstance(queue, Sqlite):
                queue.close()
            path = rng.choice([path for path in Path(folder, "q").iterdir() if path.stat().st_size])
            content = bytearray(path.read_bytes())
            start = rng.randrange(len(content))
            end = min(start + _DAMAGE_BYTES, len(content))
            content[start:end] = b"\xa5" * (end - start)
            path.write_bytes(content)
            num_read = 0
            try:
                queue = open_queue(Path(folder, "q"), max_bytes=1 << 20)
                while len(queue):
                    num_read += len([json.loads(found.content) for found in queue.take_oldest(16)])
            except sqlite3.DatabaseError:
                num_stopped += 1
            counts.append(num_read)
    counts.sort()
    print(
        f"{name}: of {num_records} events {counts[0]} to {counts[-1]} read back, {counts[len(counts) // 2]} in the "
        f"middle; {num_stopped} of {num_runs} runs ended by an error"
    )


def full(name: str, folder: Path) -> None:
    """Fill the disk, drop the oldest, go on."""
    queue: Queue = QUEUES[name](folder / name)
    for phase in ("filled", "filled again after dropping"):
        num_kept = 0
        try:
            while num_kept < 100_000:
                queue.append([record(num_kept)])
                num_kept += 1
        except (QueueFullError, sqlite3.OperationalError):
            print(f"{name}: {phase} with {num_kept} events")
        try:
            queue.drop_oldest()
        except sqlite3.OperationalError as exc:
            print(f"{name}: the oldest cannot be dropped: {exc}")
            return


async def detached_cost(folder: Path | None, *, num_events: int = 4000) -> None:
    """Processor time of the way through a detached spool, from `publish` to a sink that does nothing."""
    events = events_of("door", range(num_events))
    sink = SpoolSink(CollectingSink(), folder=folder, is_detached=True, max_memory_events=num_events)
    started = time.process_time()
    for start in range(0, num_events, 4):
        await sink.publish(events[start : start + 4])
        await asyncio.sleep(0)
    while sink.num_waiting:
        await asyncio.sleep(0.001)
    microseconds = 1e6 * (time.process_time() - started) / num_events
    print(f"a detached spool {'on disk' if folder else 'in memory'}: {microseconds:.0f} µs per event with a face")
    await sink.close()


def main() -> None:
    """Print all answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small-disk", type=Path)
    parser.add_argument("--child", nargs=2)
    arguments = parser.parse_args()
    if arguments.child:
        queue = QUEUES[arguments.child[0]](Path(arguments.child[1], "q"))
        for index in range(1_000_000):
            queue.append([record(index)])
            os.write(1, b"%d\n" % index)
    asyncio.run(detached_cost(None))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(detached_cost(Path(folder)))
    for name in QUEUES:
        rates(name)
    for name in ("segments", "sqlite"):
        killed(name)
        damaged(name)
        if arguments.small_disk is not None:
            full(name, arguments.small_disk)


if __name__ == "__main__":
    main()
