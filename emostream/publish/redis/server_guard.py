"""Runs a server for as long as the program that started this guard lives. A script of its own, standard library only.

    python server_guard.py FOLDER KEEP|REMOVE ONCE|AGAIN EXECUTABLE

The guard reads its standard input, whose other end only the program holds: first the server's configuration, closed by
an empty line, then nothing more. When it ends, because the program closed it or died, the guard stops
the server and, if asked to, removes the folder. So no server stays behind even after `kill -9` of the program; that of
the guard itself is covered on Linux by a death signal for the server. With AGAIN a server that ends in between is
started anew, at the same port and on the same folder.

Answers with one line: `pid N`, `busy` (another server uses the folder) or `error REASON`. When the server fails, the
end of its log follows on standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

CONFIG_FILE = "server.conf"
LOCK_FILE = "server.lock"
LOG_FILE = "server.log"
PREVIOUS_LOG_FILE = "server.previous.log"  # may tell why a server that was started again had ended

_STOP_TIMEOUT_SECONDS = 10.0  # flushing a large append-only file takes seconds
_MIN_LIFE_SECONDS = 1.0  # one that ends sooner would do so again, at least at once
_MAX_SHORT_LIVES = 10
_NUM_LOG_LINES = 3
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the server to its end; return its exit code."""
    if sys.platform == "win32":
        return 1  # not reached: `find_server` refuses
    import fcntl

    folder, at_end, times, executable = Path(arguments[0]), arguments[1], arguments[2], arguments[3]
    os.umask(0o077)  # passwords of cameras are in the server's data
    config = b"".join(iter(sys.stdin.buffer.readline, b"\n"))
    try:
        with (folder / LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            guard = Guard(folder, executable, lock_fd=lock.fileno())
            return guard.serve(config, is_endless=times == "AGAIN")
    except BlockingIOError:
        print("busy", flush=True)
    except OSError as exc:
        print(f"error {exc}", flush=True)
    finally:
        if at_end == "REMOVE":
            shutil.rmtree(folder, ignore_errors=True)
    return 1


class Guard:
    """Starts the server, and ends it when the program goes."""

    def __init__(self, folder: Path, executable: str, *, lock_fd: int) -> None:
        self._folder = folder
        self._executable = executable
        self._lock_fd = lock_fd
        self._ending = threading.Event()

    def serve(self, config: bytes, *, is_endless: bool) -> int:
        """Run the server to its end; return its exit code."""
        config_file = self._folder / CONFIG_FILE
        config_file.unlink(missing_ok=True)
        config_file.write_bytes(config)  # it holds the password, which arguments would show to all users
        self._start()
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        with contextlib.suppress(OSError):  # the program may be gone already; the thread below will notice
            print(f"pid {self._server.pid}", flush=True)
        threading.Thread(target=self._end_with_input, daemon=True).start()
        code = self._wait(is_endless=is_endless)
        config_file.unlink(missing_ok=True)
        if code != 0:
            lines = (self._folder / LOG_FILE).read_text(errors="replace").splitlines()[-_NUM_LOG_LINES:]
            with contextlib.suppress(OSError):  # as above
                print("\n".join(lines), file=sys.stderr, flush=True)
        return code

    def _start(self) -> None:
        self._started_seconds = time.monotonic()
        log_path = self._folder / LOG_FILE
        with contextlib.suppress(FileNotFoundError):
            log_path.replace(self._folder / PREVIOUS_LOG_FILE)
        with log_path.open("wb") as log:
            self._server = subprocess.Popen(  # noqa: S603  # the program's own command
                [self._executable, str(self._folder / CONFIG_FILE)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                pass_fds=[self._lock_fd],  # the folder stays locked until the server itself is gone
                # No thread runs at the first start, and at later ones the other thread waits in a read.
                preexec_fn=_die_with_guard if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def _wait(self, *, is_endless: bool) -> int:
        """Wait until the server has ended for good."""
        num_short_lives = 0
        while True:
            code = self._server.wait()
            is_short = time.monotonic() - self._started_seconds < _MIN_LIFE_SECONDS
            num_short_lives = num_short_lives + 1 if is_short else 0
            if not is_endless or num_short_lives > _MAX_SHORT_LIVES:
                return code
            if self._ending.wait(_MIN_LIFE_SECONDS if is_short else 0):
                return code
            self._start()
            if self._ending.is_set():  # meanwhile, when there was no server to end
                self._server.terminate()

    def _end(self) -> None:
        self._ending.set()
        self._server.terminate()

    def _end_with_input(self) -> None:
        # Not through sys.stdin: its lock, held by this thread, would make the interpreter abort at its end.
        while os.read(0, 4096):
            pass
        self._end()
        try:
            self._server.wait(timeout=_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()


def _die_with_guard() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
