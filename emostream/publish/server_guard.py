"""Runs a server for as long as the program that started this guard lives. A script of its own, standard library only.

    python server_guard.py FOLDER KEEP|REMOVE EXECUTABLE

The guard reads its standard input, whose other end only the program holds: first the server's configuration, closed by
an empty line, then nothing more. When it ends, because the program closed it or died in whatever way, the guard stops
the server and, if asked to, removes the folder. So no server stays behind even after `kill -9` of the program; that of
the guard itself is covered on Linux by a death signal for the server.

Answers with one line: `pid N`, `busy` (another server uses the folder) or `error REASON`. When the server fails, the
end of its log follows on standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

CONFIG_FILE = "server.conf"
LOCK_FILE = "server.lock"
LOG_FILE = "server.log"

_STOP_TIMEOUT_SECONDS = 10.0  # flushing a large append-only file takes seconds
_NUM_LOG_LINES = 3
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the server to its end; return its exit code."""
    folder, at_end, executable = Path(arguments[0]), arguments[1], arguments[2]
    config = b"".join(iter(sys.stdin.buffer.readline, b"\n"))
    try:
        with (folder / LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _serve(folder, executable, config=config, lock_fd=lock.fileno())
    except BlockingIOError:
        print("busy", flush=True)
    except OSError as exc:
        print(f"error {exc}", flush=True)
    finally:
        if at_end == "REMOVE":
            shutil.rmtree(folder, ignore_errors=True)
    return 1


def _serve(folder: Path, executable: str, *, config: bytes, lock_fd: int) -> int:
    config_file, log_file = folder / CONFIG_FILE, folder / LOG_FILE
    config_file.unlink(missing_ok=True)
    config_file.touch(mode=0o600)  # it holds the password, which arguments would show to all users
    config_file.write_bytes(config)
    with log_file.open("wb") as log:
        server = subprocess.Popen(  # noqa: S603  # the program's own command; no thread is running yet
            [executable, str(config_file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            pass_fds=[lock_fd],  # the folder stays locked until the server itself is gone
            preexec_fn=_die_with_guard if sys.platform == "linux" else None,  # noqa: PLW1509  # no thread runs yet
        )
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    with contextlib.suppress(OSError):  # the program may be gone already; the thread below will notice
        print(f"pid {server.pid}", flush=True)
    threading.Thread(target=_stop_when_input_ends, args=(server,), daemon=True).start()
    code = server.wait()
    config_file.unlink(missing_ok=True)
    if code != 0:
        lines = log_file.read_text(errors="replace").splitlines()[-_NUM_LOG_LINES:]
        with contextlib.suppress(OSError):  # as above
            print("\n".join(lines), file=sys.stderr, flush=True)
    return code


def _stop_when_input_ends(server: subprocess.Popen[bytes]) -> None:
    # Not through sys.stdin: its lock, held by this thread, would make the interpreter abort at its end.
    while os.read(0, 4096):
        pass
    server.terminate()
    try:
        server.wait(timeout=_STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


def _die_with_guard() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
