"""Logging set-up, called by entry points only."""

from __future__ import annotations

import logging

from emostream.redact import redact


class _RedactingFormatter(logging.Formatter):
    """Removes credentials from whatever is about to be written, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure_logging(level: str) -> None:
    """Send records of this package at or above `level` to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    package = logging.getLogger("emostream")
    package.handlers = [handler]
    package.setLevel(level.upper())
    package.propagate = False
