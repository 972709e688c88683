"""Lines of the log: for people, for machines, with the stream they are about, and not too many."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from emostream.telemetry.logs import STREAM_ID, LogFormat, RepeatLimit, configure_logging

logger = logging.getLogger("emostream.test")


@pytest.fixture
def package() -> Iterator[logging.Logger]:
    """The package's logger, left as it was."""
    package = logging.getLogger("emostream")
    before = (package.handlers, package.level, package.propagate)
    yield package
    package.handlers, package.propagate = before[0], before[2]
    package.setLevel(before[1])


def written(package: logging.Logger, log_format: LogFormat) -> io.StringIO:
    configure_logging("info", log_format=log_format)
    (handler,) = package.handlers
    assert isinstance(handler, logging.StreamHandler)
    output = io.StringIO()
    handler.setStream(output)
    return output


def test_json_lines_carry_the_stream_and_no_password(package: logging.Logger) -> None:
    output = written(package, "json")
    token = STREAM_ID.set("door")
    try:
        raise OSError("rtsp://user:secret@camera/1 is away")
    except OSError as exc:
        logger.exception("cannot open: %s", exc)
    finally:
        STREAM_ID.reset(token)
    logger.info("no stream")
    first, second = [json.loads(line) for line in output.getvalue().splitlines()]
    assert (first["level"], first["logger"], first["stream_id"]) == ("error", "emostream.test", "door")
    assert first["message"].startswith("cannot open: rtsp://") and "OSError" in first["exception"]
    assert "secret" not in output.getvalue()
    assert first["at"].endswith("+00:00") and "stream_id" not in second


def test_text_names_the_stream(package: logging.Logger) -> None:
    output = written(package, "text")
    logger.warning("stands still", extra={"stream_id": "door"})
    logger.warning("all is well")
    first, second = output.getvalue().splitlines()
    assert "WARNING emostream.test [door]: stands still" in first
    assert "WARNING emostream.test: all is well" in second


def test_repeats_are_few_and_counted(package: logging.Logger) -> None:
    output = written(package, "json")
    for number in range(20):
        logger.warning("attempt %d failed", number)
    logger.warning("something else")
    lines = [json.loads(line)["message"] for line in output.getvalue().splitlines()]
    assert lines == [*(f"attempt {number} failed" for number in range(5)), "something else"]


def record(**extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "x", "levelno": 30, "msg": "away", **extra})


def test_the_next_line_after_a_minute_says_how_many_were_left_out() -> None:
    seconds = 0.0
    limit = RepeatLimit(clock=lambda: seconds)
    assert sum(limit.filter(record()) for _ in range(12)) == 5
    seconds = 61.0
    late = record()
    assert limit.filter(late)
    assert late.__dict__["num_left_out"] == 7


def test_streams_do_not_silence_each_other() -> None:
    limit = RepeatLimit(clock=lambda: 0.0)
    assert sum(limit.filter(record(stream_id=name)) for name in ("a", "b") for _ in range(9)) == 10


def test_memory_is_bounded() -> None:
    limit = RepeatLimit(clock=lambda: 0.0)
    for number in range(3000):
        assert limit.filter(record(msg=f"kind {number}"))
    assert len(limit._alike) <= 1000


async def test_tasks_keep_their_streams_apart(package: logging.Logger) -> None:
    output = written(package, "json")

    async def run(stream_id: str) -> None:
        STREAM_ID.set(stream_id)
        await asyncio.sleep(0)
        logger.info("of %s", stream_id)

    await asyncio.gather(run("a"), run("b"))
    assert [json.loads(line)["stream_id"] for line in output.getvalue().splitlines()] == ["a", "b"]
