"""Lines of the log: for people, for machines, with the stream they are about, and not too many."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
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


def test_lines_are_copied_to_a_file_and_no_password(
    package: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    copy.write_text("earlier\n", encoding="utf-8")
    configure_logging("info", log_format="json", copy_to=copy)
    configure_logging("info", log_format="json", copy_to=copy)  # as each deployment in one process does
    for _ in range(9):
        logger.info("rtsp://user:secret@camera/1 is away")
    earlier, *lines = copy.read_text(encoding="utf-8").splitlines()
    assert earlier == "earlier"
    assert len(lines) == 5  # equal lines are limited here as well
    assert {json.loads(line)["message"] for line in lines} == {"rtsp://***@camera/1 is away"}
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize("name", ["", "no-folder/copy"])
def test_a_copy_that_cannot_be_written_is_said_and_hinders_nothing(
    package: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    configure_logging("info", log_format="json", copy_to=tmp_path / name)
    logger.info("it goes on")
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert first["level"] == "warning" and "log_copy_to" in first["message"]
    assert second["message"] == "it goes on"


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_lines_of_a_process_behind_files_reach_the_output_of_its_parent(tmp_path: Path) -> None:
    """As in a pod: Ray sends what its workers write to files, and the first process has the output of the container."""
    worker = (
        "import logging, os, pathlib\n"
        "from emostream.telemetry.logs import configure_logging\n"
        "configure_logging('info', log_format='json', copy_to=pathlib.Path(f'/proc/{os.getppid()}/fd/2'))\n"
        "logging.getLogger('emostream.test').info('from the worker')\n"
    )
    first = (
        "import subprocess, sys\n"
        f"with open({str(tmp_path / 'worker.err')!r}, 'w') as own:\n"
        f"    subprocess.run([sys.executable, '-c', {worker!r}], stderr=own, check=True)\n"
    )
    outcome = subprocess.run([sys.executable, "-c", first], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(outcome.stderr)["message"] == "from the worker"
    assert (tmp_path / "worker.err").read_text(encoding="utf-8") == outcome.stderr


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
