"""Logging configuration, called by entry points only, and the context that log lines carry."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from emostream.domain.redact import redact

_logger = logging.getLogger(__name__)

LogFormat = Literal["text", "json"]

STREAM_ID: ContextVar[str] = ContextVar("emostream_stream_id", default="")
"""Set in a stream's task; all log lines of the task carry the id."""
TRACE_ID: ContextVar[str] = ContextVar("emostream_trace_id", default="")
"""Set while traced frames are in a stage (`tracing.py`), in hex; log lines written meanwhile carry it."""

# OpenTelemetry logs when traces cannot be sent.
_OTHER_LOGGERS = ("opentelemetry",)

_WINDOW_SECONDS = 60.0
_MAX_ALIKE_PER_WINDOW = 5  # enough to see that it continues, too few to fill a disk
_MAX_KINDS = 1000  # limit of remembered kinds of lines


class _NameStream(logging.Filter):
    """Adds stream id and trace id of the context to each record that has none."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "stream_id"):
            record.stream_id = STREAM_ID.get()
        if not hasattr(record, "trace_id"):
            record.trace_id = TRACE_ID.get()
        return True


@dataclass(slots=True)
class _Alike:
    started_seconds: float
    num_passed: int = 0
    num_left_out: int = 0


class RepeatLimit(logging.Filter):
    """Passes at most five equal lines per minute; the next line states how many were suppressed.

    Lines are equal when logger, level, unformatted message and stream are.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._alike: dict[tuple[str, int, str, str], _Alike] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; called by logging under the handler's lock."""
        key = (record.name, record.levelno, str(record.msg), getattr(record, "stream_id", ""))
        now = self._clock()
        alike = self._alike.get(key)
        record.num_left_out = 0
        if alike is None or now - alike.started_seconds >= _WINDOW_SECONDS:
            record.num_left_out = 0 if alike is None else alike.num_left_out
            self._forget(now)
            alike = self._alike[key] = _Alike(now)
        alike.num_passed += 1
        if alike.num_passed <= _MAX_ALIKE_PER_WINDOW:
            return True
        alike.num_left_out += 1
        return False

    def _forget(self, now: float) -> None:
        if len(self._alike) >= _MAX_KINDS:
            self._alike = {
                key: alike for key, alike in self._alike.items() if now - alike.started_seconds < _WINDOW_SECONDS
            }
        if len(self._alike) >= _MAX_KINDS:  # all of them within one minute: reset
            self._alike.clear()


class _TextFormatter(logging.Formatter):
    """Formats lines as text. Removes credentials, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        stream_id = getattr(record, "stream_id", "")
        record.of_stream = f" [{stream_id}]" if stream_id else ""
        text = redact(super().format(record))
        if trace_id := getattr(record, "trace_id", ""):
            text = f"{text} (trace {trace_id})"
        num_left_out = getattr(record, "num_left_out", 0)
        return f"{text} ({num_left_out} similar lines were suppressed)" if num_left_out else text


class _JsonFormatter(logging.Formatter):
    """Formats each line as a JSON object. Removes credentials."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str | int] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if stream_id := getattr(record, "stream_id", ""):
            line["stream_id"] = stream_id
        if trace_id := getattr(record, "trace_id", ""):
            line["trace_id"] = trace_id
        if num_left_out := getattr(record, "num_left_out", 0):
            line["num_left_out"] = num_left_out
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def configure_logging(level: str, *, log_format: LogFormat = "text", copy_to: Path | None = None) -> None:
    """Log to standard error: this package at or above `level`, and warnings of libraries.

    Args:
        level: name of a logging level.
        log_format: text, or one JSON object per line.
        copy_to: file, pipe or terminal that gets each line as well. Where it cannot be opened, a warning says so.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    problem: OSError | None = None
    if copy_to is not None:
        try:
            handlers.append(logging.FileHandler(copy_to, encoding="utf-8"))
        except OSError as exc:
            problem = exc
    for handler in handlers:
        handler.addFilter(_NameStream())
        handler.addFilter(RepeatLimit())
        text_format = "%(asctime)s %(levelname)s %(name)s%(of_stream)s: %(message)s"
        handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter(text_format))
    for name in ("emostream", *_OTHER_LOGGERS):
        known = logging.getLogger(name)
        for earlier in known.handlers:
            if isinstance(earlier, logging.FileHandler):
                earlier.close()
        known.handlers = list(handlers)
        known.setLevel(level.upper() if name == "emostream" else logging.WARNING)
        known.propagate = False
    if problem is not None:
        _logger.warning("log lines cannot be copied to %s (setting log_copy_to): %s", copy_to, problem.strerror)
