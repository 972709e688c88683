"""What FFmpeg logs while it fails to open a source: its errors say "Invalid data", its log says which data.

Inside this process the log cannot be had. PyAV's callback takes Python's lock (the GIL) in whichever thread logs, and
PyAV joins the threads of a decoder while it holds that lock, so a damaged picture in any stream would stop the process
for good; FFmpeg's own callback writes to the standard error of all streams together. So a source that failed is opened
once more in a process of its own, which logs as FFmpeg does and ends after some seconds: the line is of this source and
of no other. This file is also the program of that process.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

_MAX_PACKETS = 500  # that are decoded until there is a picture
_MAX_SECONDS = 6.0
_MAX_LINE = 200
_PER_MINUTE = 12  # a process costs a third of a second
_MAX_BYTES = 2 << 30  # of addresses; a source that takes more ends its process
_CONTEXT = re.compile(r"^\[([^\]@]*?)\s*@ 0x[0-9a-f]+\]\s*")
_REPEATED = re.compile(r"^\s*Last message repeated \d+ times\s*$")


class AskedRarely:
    """Lets a few through per minute, and one at a time. Thread-safe.

    Args:
        per_minute: so many.
        clock: monotonic seconds.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._is_busy = False
        self._asked: deque[float] = deque(maxlen=per_minute)

    def begin(self) -> bool:
        """Whether to ask now; then `end` must follow."""
        with self._lock:
            now = self._clock()
            if self._is_busy or (len(self._asked) == self._asked.maxlen and now - self._asked[0] < 60):
                return False
            self._is_busy = True
            self._asked.append(now)
            return True

    def end(self) -> None:
        """It was asked."""
        with self._lock:
            self._is_busy = False


_RARELY = AskedRarely(_PER_MINUTE)


def last_log_line(address: str, *, options: dict[str, str], format_name: str | None, timeout_seconds: float) -> str:
    """What FFmpeg logs last while it opens a source and decodes its first picture; empty where it logs nothing.

    Credentials are not masked.

    Args:
        address: as FFmpeg opens it.
        options: as FFmpeg gets them.
        format_name: FFmpeg's name of the format; None lets it look.
        timeout_seconds: for opening and for reading.
    """
    if not sys.executable or not _RARELY.begin():
        return ""
    given = {"address": address, "options": options, "format": format_name, "timeout_seconds": timeout_seconds}
    try:
        ended = subprocess.run(  # noqa: S603  # this file, and what may be secret goes by a pipe
            [sys.executable, "-P", str(Path(__file__))],
            input=json.dumps(given).encode("utf-8", "surrogateescape"),
            capture_output=True,
            timeout=_MAX_SECONDS,
            check=False,
        )
        log = ended.stderr
    except subprocess.TimeoutExpired as exc:
        log = exc.stderr or b""
    except (OSError, ValueError):
        return ""
    finally:
        _RARELY.end()
    return last_line(log.decode("utf-8", "replace"))


def last_line(log: str) -> str:
    """The last thing that FFmpeg logged, with the part of FFmpeg that said it.

    >>> last_line("[mov,mp4 @ 0x55d0] moov atom not found\\n    Last message repeated 1 times\\n")
    'moov atom not found (mov,mp4)'
    """
    lines = [line for line in log.splitlines() if line.strip() and not _REPEATED.match(line)]
    if not lines:
        return ""
    context = _CONTEXT.match(lines[-1])
    said = lines[-1] if context is None else lines[-1][context.end() :]
    said = "".join(letter for letter in said if letter.isprintable()).strip().rstrip(".")[:_MAX_LINE]
    return f"{said} ({context[1]})" if said and context is not None else said


def _main() -> None:
    """Log to standard error what there is to say of the source on standard input."""
    import av
    import av.logging

    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
    given = json.loads(sys.stdin.buffer.read().decode("utf-8", "surrogateescape"))
    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.ERROR)
    try:
        with av.open(
            given["address"],
            format=given["format"],
            options=given["options"],
            timeout=given["timeout_seconds"],
            metadata_errors="replace",
        ) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for number, packet in enumerate(container.demux(stream)):
                if packet.decode() or number > _MAX_PACKETS:
                    return
    except Exception:  # noqa: S110  # that it fails is known; what is logged counts
        pass


if __name__ == "__main__":
    _main()
