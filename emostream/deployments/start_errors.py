"""Pure: what Ray says when it or the application does not start → one message that says what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping

from emostream.errors import ConfigError, EmostreamError

# How Ray words it when a node did not join in time; it raises a plain `Exception`.
_SLOW = "timed out during startup"
# The last error of ours in a traceback that a replica sent.
_OURS = re.compile(r"^emostream\.errors\.\w+: (.*)\Z", re.MULTILINE | re.DOTALL)


def is_slow_start(exc: Exception) -> bool:
    """Whether Ray gave up waiting for itself, so that another try may succeed."""
    return _SLOW in str(exc)


def error_of_ray(exc: Exception, *, address: str | None) -> EmostreamError:
    """What to say when `ray.init` failed.

    Args:
        exc: what it raised.
        address: of the cluster that was asked for; None for a Ray of this machine.
    """
    reason = _first_line(exc)
    if address is not None:
        return ConfigError(f"there is no Ray cluster that can be used at {address}: {reason}")
    if is_slow_start(exc):
        return EmostreamError(
            "Ray did not start within its limit of 30 s, twice in a row: this machine is too busy, or short of memory. "
            "Stop other programs and try again; Ray's own logs are below /tmp/ray/session_latest/logs"
        )
    return EmostreamError(f"Ray did not start on this machine: {reason}")


def error_of_app(exc: BaseException, *, told: Mapping[str, str]) -> EmostreamError:
    """What to say when the application did not come up.

    Args:
        exc: what `serve.run` raised.
        told: what Serve tells of each deployment, by name; tracebacks, mostly.
    """
    for name, text in told.items():
        if (ours := _OURS.search(text)) is not None:
            return EmostreamError(f"{name} did not start: {ours.group(1).strip()}")
        if text:
            return EmostreamError(f"{name} did not start: {text.strip().splitlines()[-1]}")
    return EmostreamError(
        f"the application did not start: {_first_line(exc)}; run it with EMOSTREAM_LOG_LEVEL=info to see more"
    )


def _first_line(exc: BaseException) -> str:
    return next(iter(str(exc).splitlines()), "") or type(exc).__name__
